"""Medians, ratios, tables, and the bars that they are held to."""

import statistics

BASE = "nginx"


def line(one):
    """One load, as it is measured."""
    more = f"  {one['cpu_us']:8.1f} µs  {one['peak_mib']:7.1f} MiB" if "cpu_us" in one else ""
    errors = f"  {one['errors']} ERRORS" if one["errors"] else ""
    return (f"{one['round']}  {one['size']:>5} × {one['connections']:<3} {one['name']:<15} {one['rate']:>9.0f}/s  "
            f"p50 {one['p50_ms']:8.3f}  p99 {one['p99_ms']:8.3f} ms{more}{errors}")


class Loads:
    """What was measured under load, by size, connections and name."""

    def __init__(self, figures):
        self.all = figures["load"]
        self.cells = list(dict.fromkeys((one["size"], one["connections"]) for one in self.all))
        self.names = list(dict.fromkeys(one["name"] for one in sorted(self.all, key=self._place)))

    @staticmethod
    def _place(one):
        order = ["direct", "nginx", "nginx-log", "mitmdump", "hyper", "hyper-mimalloc", "hyper-record", "bore"]
        return order.index(one["name"]) if one["name"] in order else len(order)

    def of(self, cell, name, figure):
        """The figure of each round, in their order."""
        return [one[figure] for one in self.all
                if (one["size"], one["connections"]) == cell and one["name"] == name and figure in one]

    def median(self, cell, name, figure):
        found = self.of(cell, name, figure)
        return statistics.median(found) if found else None

    def ratio(self, cell, name, base, figure="rate"):
        """The median over the rounds of the ratio within a round."""
        pairs = zip(self.of(cell, name, figure), self.of(cell, base, figure), strict=False)
        ratios = [one / other for one, other in pairs]
        return statistics.median(ratios) if ratios else None


def _shown(value, form):
    return "–" if value is None else format(value, form)


def _precise(value):
    """Three digits that mean something."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


HEADINGS = ["", "per second", "of nginx", "p50 ms", "p99 ms", "CPU µs each", "peak MiB", "errors"]


def _tables(figures, base=BASE):
    """A title and rows for each load."""
    loads = Loads(figures)
    for size, connections in loads.cells:
        cell, rows = (size, connections), []
        for name in loads.names:
            rows.append([
                name,
                _shown(loads.median(cell, name, "rate"), ",.0f"),
                _precise(loads.ratio(cell, name, base)),
                _precise(loads.median(cell, name, "p50_ms")),
                _precise(loads.median(cell, name, "p99_ms")),
                _precise(loads.median(cell, name, "cpu_us")),
                _precise(loads.median(cell, name, "peak_mib")),
                str(sum(loads.of(cell, name, "errors"))),
            ])
        yield f"{size}, {connections} connection{'' if connections == 1 else 's'}", rows


def _singles(figures):
    """What was measured once for each binary: what it is, and its value."""
    for start in figures["start"]:
        yield start["name"], [
            ("start to ready, empty folder", f"{start['ready_fresh_ms']:.1f} ms"),
            ("start to ready, folder there", f"{start['ready_ms']:.1f} ms"),
            ("`trigger` as a whole process", f"{start['trigger_ms']:.1f} ms"),
            ("`--version` as a whole process", f"{start['version_ms']:.1f} ms"),
            ("memory at rest", f"{start['idle_mib']:.1f} MiB"),
            ("binary", f"{start['binary_mb']:.1f} MB"),
        ]
    for record in figures["record"]:
        rows = f"{figures['rows']:,}"
        lookups = [("newest 50", "newest"), ("50 by event type", "by_type"), ("`--search`, common word", "common"),
                   ("`--search`, rare word", "rare"), ("`--search`, absent word", "absent")]
        yield record["name"], [
            (f"on disk for each of {rows} deliveries", f"{record['bytes_per_delivery']:,.0f} bytes"),
            ("imported", f"{record['import_per_s']:,.0f}/s"),
            ("until a `listen` has come to rest after that", f"{record['settled_s']:.0f} s"),
            ("insertion, empty record", f"{record['rate_empty']:,.0f}/s"),
            (f"insertion, {rows} there", f"{record['rate_full']:,.0f}/s ({record['rate_ratio']:.2f})"),
            *((f"{what}, whole command (more than with 1 delivery)",
               f"{record[key + '_ms']:.1f} ms ({record[key + '_more_ms']:+.1f})") for what, key in lookups),
        ]


def bars(figures):
    """What is demanded of each binary: what, value, demanded, whether it is met."""
    loads = Loads(figures)
    for name in figures["binaries"]:
        for connections in 16, 64:
            cell, at = ("300B", connections), f"300 bytes, {connections} connections"
            yield _bar(name, f"{at}: rate, of nginx", loads.ratio(cell, name, BASE), ">=", 0.5)
            yield _bar(name, f"{at}: rate, of nginx (goal)", loads.ratio(cell, name, BASE), ">=", 0.7)
            yield _bar(name, f"{at}: rate, of a bare hyper proxy (goal)", loads.ratio(cell, name, "hyper"), ">=", 1)
            yield _bar(name, f"{at}: rate, of mitmdump", loads.ratio(cell, name, "mitmdump"), ">=", 90)
            yield _bar(name, f"{at}: p99, of nginx logging bodies", loads.ratio(cell, name, "nginx-log", "p99_ms"),
                       "<", 1)
            yield _bar(name, f"{at}: CPU for each, µs", loads.median(cell, name, "cpu_us"), "<", 50)
        cell = ("1MiB", 16)
        yield _bar(name, "1 MiB, 16 connections: rate, of nginx logging bodies", loads.ratio(cell, name, "nginx-log"),
                   ">", 1)
        yield _bar(name, "1 MiB, 16 connections: rate, of mitmdump", loads.ratio(cell, name, "mitmdump"), ">=", 2)
        yield _bar(name, "300 bytes, 1 connection: p50 more than direct, ms", _added(loads, name), "<=", 0.3)
        yield _bar(name, "1 MiB, 64 connections: memory, MiB", loads.median(("1MiB", 64), name, "peak_mib"), "<", 160)
        for start in (start for start in figures["start"] if start["name"] == name):
            yield _bar(name, "start to ready, ms", max(start["ready_fresh_ms"], start["ready_ms"]), "<", 25)
            yield _bar(name, "`trigger` as a whole process, ms", start["trigger_ms"], "<", 15)
            yield _bar(name, "memory at rest, MiB", start["idle_mib"], "<", 14)
            yield _bar(name, "binary, MB", start["binary_mb"], "<", 15)
        for record in (record for record in figures["record"] if record["name"] == name):
            rows = f"{figures['rows']:,} recorded"
            yield _bar(name, f"{rows}: newest 50, more than with 1, ms", record["newest_more_ms"], "<", 5)
            yield _bar(name, f"{rows}: 50 by event type, more than with 1, ms", record["by_type_more_ms"], "<", 5)
            slowest = max(record[f"{word}_ms"] for word in ("common", "rare", "absent"))
            yield _bar(name, f"{rows}: `--search`, whole command, slowest word, ms", slowest, "<", 50)
            yield _bar(name, f"{rows}: insertion, of that with none", record["rate_ratio"], ">=", 0.95)


def _added(loads, name):
    """How much longer a small request takes than directly, in milliseconds."""
    cell = ("300B", 1)
    p50s = zip(loads.of(cell, name, "p50_ms"), loads.of(cell, "direct", "p50_ms"), strict=False)
    differences = [ours - direct for ours, direct in p50s]
    return statistics.median(differences) if differences else None


def _bar(name, what, value, sign, limit):
    if value is None:
        return None
    met = {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}[sign]
    goal = what.endswith("(goal)")
    sign = {"<=": "≤", ">=": "≥"}.get(sign, sign)
    return [name, what, _precise(value), f"{sign} {limit}", "yes" if met else "not yet" if goal else "**no**"]


def _of_machine(figures):
    machine = figures["machine"]
    return (f"{machine['cores']} cores ({machine['processor']}), {machine['system']}, {machine['file_system']}, "
            f"nginx {machine['versions']['nginx']}; {figures['rounds']} rounds, interleaved, {figures['seconds']:g} s for "
            f"each load; load average at the start {machine['load']:.1f}.")


def _markdown_table(headings, rows):
    head = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows])


def _plain_table(headings, rows):
    rows = [headings, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    # Words to the left, figures to the right.
    side = ["<" if column == 0 or rows[1][column][:1].isalpha() else ">" for column in range(len(headings))]
    return "\n".join("  ".join(f"{text:{s}{w}}" for text, s, w in zip(row, side, widths, strict=True)).rstrip()
                     for row in rows)


def _sections(figures, table, heading):
    yield _of_machine(figures)
    for title, rows in _tables(figures):
        yield heading(title)
        yield table(HEADINGS, rows)
    for name, singles in _singles(figures):
        yield heading(name)
        yield table(["", "median"], [[what, value] for what, value in singles])
    held = [bar for bar in bars(figures) if bar]
    if held:
        yield heading("Bars")
        yield table(["", "bar", "measured", "demanded", "met"], held)


def markdown(figures):
    return "\n\n".join(_sections(figures, _markdown_table, lambda title: f"### {title}"))


def plain(figures):
    return "\n\n".join(_sections(figures, _plain_table, lambda title: f"== {title}"))


def inspector(figures, is_markdown):
    """The figures of the inspector and the bars that they are held to."""
    table = _markdown_table if is_markdown else _plain_table
    title = (lambda text: f"### {text}") if is_markdown else (lambda text: f"== {text}")
    return "\n\n".join(_inspector(figures, table, title))


LIVE_HEADINGS = ["load", "looked at by", "per second", "of that with nobody", "p50 ms", "p99 ms", "CPU µs each", "errors"]


def _inspector(figures, table, title):
    yield _of_machine(figures)
    held = []
    if asked := figures.get("api"):
        yield title(f"Answers over {figures['rows']:,} deliveries")
        names = {"list": "list", "search": "search", "else": ""}
        yield table(["", "", "p50 ms", "longest ms", "kB"],
                    [[one["what"], names[one["kind"]], _precise(one["p50_ms"]), _precise(one["max_ms"]),
                      f"{one['bytes'] / 1000:.1f}"] for one in asked])
        for kind, limit in ("list", 20), ("search", 150):
            slowest = max(one["p50_ms"] for one in asked if one["kind"] == kind)
            held.append(_bar("inspector", f"{kind}, slowest question, p50, ms", slowest, "<", limit))
    if opened := figures.get("paint"):
        middle = {key: statistics.median(one[key] for one in opened) for key in opened[0]}
        yield title("Opening the page")
        yield table(["", "median"], [["first paint", f"{middle['painted_ms']:.0f} ms"],
                                     ["first paint, browser just started", f"{middle['just_started_ms']:.0f} ms"],
                                     ["rows are there", f"{middle['filled_ms']:.0f} ms"],
                                     ["transferred", f"{middle['transferred'] / 1000:.1f} kB"]])
        held.append(_bar("inspector", "first paint, ms", middle["painted_ms"], "<", 200))
        held.append(_bar("inspector", "transferred, kB", middle["transferred"] / 1000, "<", 120))
    if loads := figures.get("live"):
        yield title("Live")
        rows = []
        for name in dict.fromkeys(one["load"] for one in loads):
            of = {kind: [one for one in loads if one["load"] == name and one["kind"] == kind]
                  for kind in ("nobody", "watcher", "page")}
            for kind, ones in of.items():
                ratio = statistics.median(one["rate"] / base["rate"] for one, base in zip(ones, of["nobody"], strict=True))
                middle = {key: statistics.median(one[key] for one in ones) for key in ("rate", "p50_ms", "p99_ms", "cpu_us")}
                rows.append([name, kind, f"{middle['rate']:,.0f}", _precise(ratio), _precise(middle["p50_ms"]),
                             _precise(middle["p99_ms"]), _precise(middle["cpu_us"]), str(sum(one["errors"] for one in ones))])
                if kind == "page" and "1,000" in name:
                    held.append(_bar("inspector", f"{name}, page open: rate, of that without", ratio, ">=", 0.9))
            page = {key: statistics.median(one[key] for one in of["page"])
                    for key in ("behind_ms", "frames_per_s", "longest_frame_ms")}
            rows.append([name, "", f"page: {page['frames_per_s']:.0f} frames/s, longest {page['longest_frame_ms']:.0f} ms, "
                         f"{page['behind_ms']:.0f} ms behind at the end", "", "", "", "", ""])
        yield table(LIVE_HEADINGS, rows)
    yield title("Bars")
    yield table(["", "bar", "measured", "demanded", "met"], held)


def relay(figures, is_markdown):
    """The figures of the relay and the bars that they are held to."""
    table = _markdown_table if is_markdown else _plain_table
    title = (lambda text: f"### {text}") if is_markdown else (lambda text: f"== {text}")
    return "\n\n".join(_relay(figures, table, title))


def _relay(figures, table, title):
    yield _of_machine(figures)
    loads, held = Loads(figures), []
    headings = [heading.replace("nginx", "direct") for heading in HEADINGS]
    for of_load, rows in _tables(figures, "direct"):
        yield title(of_load)
        yield table(headings, rows)
    for name, of in figures["of"].items():
        for size, limit in ("300B", 0.14), ("1MiB", 0.08):
            ratio = loads.ratio((size, 64), name, "direct")
            held.append(_bar(name, f"{size}, 64 connections: rate, of direct", ratio, ">=", limit))
            held.append(_bar(name, f"{size}, 64 connections: rate, of direct (goal)", ratio, ">=", 0.25))
        held.append(_bar(name, "300B, 1 connection: p50 more than direct, ms", _added(loads, name), "<", 1))
        singles = []
        if store := of.get("store"):
            told, handed = (statistics.median(one[key] for one in store) for key in ("told_per_s", "handed_per_s"))
            singles.append(("`--mode store`, 64 connections, told 202", f"{told:,.0f}/s"))
            singles.append(("… and handed to the handler, until nothing waits", f"{handed:,.0f}/s"))
            held.append(_bar(name, "`--mode store`: kept and handed on, a second", handed, ">", 5000))
        for one in of.get("return", []):
            away = f"relay killed and back {one['away_s'] or 'at once'}{' s later' if one['away_s'] else ''}"
            singles.append((f"{away}: until the tunnel is open", f"{one['median_s']:.2f} s (longest {one['longest_s']:.2f})"))
            if not one["away_s"]:
                held.append(_bar(name, f"{away}: until the tunnel is open, longest, s", one["longest_s"], "<", 1))
        if idle := of.get("idle"):
            each = (idle["mib"] - idle["empty_mib"]) * 1024 / idle["tunnels"]
            many = f"{idle['tunnels']:,} idle tunnels"
            singles += [(f"{many}: opened", f"in {idle['opened_s']:.1f} s"), (f"{many}: memory of the relay", f"{idle['mib']:.0f} MiB"),
                        (f"{many}: memory for each", f"{each:.1f} KiB"), (f"{many}: processor", f"{idle['cores']:.3f} cores")]
            held.append(_bar(name, f"{many}: memory of the relay, MiB", idle["mib"], "<", 100))
        if backlog := of.get("backlog"):
            many = f"{backlog['messages']:,} kept while nobody is there"
            singles += [(many, f"{backlog['kept_per_s']:,.0f}/s"), ("… on disk for each", f"{backlog['bytes_on_disk'] / backlog['messages']:.0f} bytes"),
                        ("… handed to the handler, until nothing waits", f"{backlog['drained_s']:.1f} s ({backlog['messages'] / backlog['drained_s']:,.0f}/s)"),
                        ("… processor time for each, relay and listen", " and ".join(f"{cpu / backlog['messages'] * 1e6:.0f} µs" for cpu in backlog["cpu_s"])),
                        ("… peak memory, relay and listen", " and ".join(f"{peak:.0f} MiB" for peak in backlog["peak_mib"]))]
            held.append(_bar(name, "kept while nobody is there, a second", backlog["kept_per_s"], ">", 5000))
        if singles:
            yield title(name)
            yield table(["", "measured"], [list(single) for single in singles])
    yield title("Bars")
    yield table(["", "bar", "measured", "demanded", "met"], [bar for bar in held if bar])
