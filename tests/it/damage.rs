//! A damaged record: `listen` repairs it by itself, and every other command says how. What is saved of how many kinds of
//! damage is shown by the tests of the store.

use std::fs;

use serde_json::Value;

use crate::durability::{Sender, database, interrupt, plain, post};
use crate::handler::Handler;
use crate::world::World;

/// How many deliveries are recorded.
const DELIVERIES: usize = 30;

/// A record that was closed, and changed since.
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> (World, Handler) {
    let (world, handler) = (World::new(), Handler::start());
    let listening = world.listen(&["--forward", &handler.target()]);
    let mut sender = Sender::connect(&listening.address()).unwrap();
    for number in 0..DELIVERIES {
        assert_eq!(sender.post(&vec![b'x'; 200 + number * 1500]).unwrap().status, 200);
    }
    drop(sender);
    interrupt(listening);
    let mut bytes = fs::read(database(&world)).unwrap();
    change(&mut bytes);
    fs::write(database(&world), bytes).unwrap();
    (world, handler)
}

#[test]
fn listen_repairs_a_damaged_record_by_itself_when_it_starts_and_while_it_runs() {
    let (world, handler) = damaged(|bytes| bytes[..16].copy_from_slice(b"garbage garbage "));
    let list = world.run(&["deliveries", "list"]);
    insta::assert_snapshot!(plain(&world, &list.whole()), @r"
    exit: 1
    --- stdout
    --- stderr
    error: `[PROJECT]/.mbaas-dev/deliveries.db` is damaged: file is not a database
    hint: `mbaas-dev doctor --repair` keeps it aside, and saves what can be read into a new one
    ");
    let mut listening = world.listen(&["--forward", &handler.target()]);
    let told = listening.next("error");
    let aside = "[PROJECT]/.mbaas-dev/deliveries.db.corrupt-[TIME]";
    let masked = |told: &Value| {
        let text = plain(&world, &told.to_string());
        let at = text.find(".corrupt-").map(|at| at + ".corrupt-".len());
        at.map_or(text.clone(), |at| {
            // Within the same second it is the second of that name.
            let rest = text[at + "20261124T090552Z".len()..].trim_start_matches("-2");
            format!("{}[TIME]{rest}", &text[..at])
        })
    };
    insta::assert_snapshot!(masked(&told), @r#"{"v":1,"type":"error","code":"repaired","message":"`[PROJECT]/.mbaas-dev/deliveries.db` was damaged (file is not a database): all of its 30 deliveries were saved into a new one","hint":"nothing needs to be done; the damaged file is kept as `[PROJECT]/.mbaas-dev/deliveries.db.corrupt-[TIME]`"}"#);
    assert!(masked(&told).contains(aside));
    assert_eq!(world.run(&["deliveries", "list", "--json", "--limit", "100"]).objects().len(), DELIVERIES);
    assert_eq!(post(&listening.address(), b"goes on").status, 200);
    let newest = &world.run(&["deliveries", "list", "--json", "--limit", "1"]).objects()[0];
    assert_eq!(newest["number"], DELIVERIES + 1, "numbers are not given again");

    // While it runs: whoever sends at that moment is told to try again. What the handler answered is recorded a moment
    // later than the sender hears it, and would find the damage, too.
    listening.next("attempt");
    let garbage = world.write("garbage", [b'?'; 8192]);
    fs::rename(garbage, database(&world)).unwrap();
    let refused = post(&listening.address(), b"again");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    insta::assert_snapshot!(masked(&listening.next("error")), @r#"{"v":1,"type":"error","code":"store","message":"`[PROJECT]/.mbaas-dev/deliveries.db` was damaged (file is not a database): there was no delivery in it that could be saved","hint":"nothing needs to be done; the damaged file is kept as `[PROJECT]/.mbaas-dev/deliveries.db.corrupt-[TIME]`"}"#);
    assert_eq!(post(&listening.address(), b"again").status, 200);
    assert_eq!(world.run(&["doctor", "--repair"]).text().matches("nothing is repaired while").count(), 1);
    interrupt(listening);
    assert_eq!(world.run(&["deliveries", "list", "--json"]).objects().len(), 1);
}

#[test]
fn commands_that_do_not_stay_say_how_to_repair_a_damaged_record_and_leave_it() {
    let (world, handler) = damaged(|bytes| bytes.truncate(bytes.len() / 2));
    let before = fs::read(database(&world)).unwrap();
    for arguments in [
        &["deliveries", "list"][..],
        &["deliveries", "prune", "--keep", "1"],
        &["trigger", "meeting.completed", "--secret", "s", "--to", &handler.target()],
    ] {
        let done = world.run(arguments);
        assert_eq!((done.code(), done.text().as_str()), (1, ""), "{arguments:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(plain(&world, &done.errors()), @r"
            error: `[PROJECT]/.mbaas-dev/deliveries.db` is damaged: database disk image is malformed
            hint: `mbaas-dev doctor --repair` keeps it aside, and saves what can be read into a new one
            ");
        }
    }
    assert!(fs::read(database(&world)).unwrap() == before, "it was changed");
    let doctor = |arguments: &[&str]| {
        let text = plain(&world, &world.run(arguments).text());
        text.lines().filter(|line| line.contains("  database  ")).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(doctor(&["doctor"]), @r"finding  database             `[PROJECT]/.mbaas-dev/deliveries.db` is damaged: database disk image is malformed: `mbaas-dev doctor --repair` keeps it aside, and saves what can be read into a new one");
    let saved = doctor(&["doctor", "--repair"]);
    assert!(
        saved.starts_with("finding  database") && saved.contains("deliveries were saved into a new one"),
        "{saved}"
    );
    assert!(doctor(&["doctor", "--repair"]).starts_with("ok       database             sound"));
}
