//! A page of a list: the first deliveries that fit.
//!
//! With a text to search for there are two roads: through what fits otherwise, looking for the text in each, and through
//! what may have the text, looking whether each fits otherwise. Which is shorter depends on what was recorded, so both are
//! walked in turn, a step each. Either gives all that fits, newest first, so the one that is through first has the page.

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, ErrorCode, Row, Rows, params_from_iter};

use super::bodies::Folder;
use super::search::Texts;
use super::select::{self, Road};
use super::{Query, gone, row, texts};
use crate::model::Delivery;

/// What was found on a road.
struct Page {
    /// How many of those that fit are still to be passed over.
    to_pass: usize,
    limit: usize,
    found: Vec<Delivery>,
}

/// Collects what fits.
struct Collector<'c> {
    texts: Texts<'c>,
    attempts: CachedStatement<'c>,
    bodies: &'c Folder,
}

/// The road through what may have the text.
struct Candidates<'s> {
    numbers: Rows<'s>,
    single: CachedStatement<'s>,
    /// The values of that; the first is the number.
    values: Vec<Value>,
}

/// The deliveries that fit `query`. Of an attempt's answer, headers and body are left empty.
pub(super) fn page(
    connection: &Connection,
    bodies: &Folder,
    query: &Query,
) -> rusqlite::Result<Vec<Delivery>> {
    let passed;
    let query = if query.offset > 0 && query.is_plain() {
        let before = gone::passed(connection, query.before, query.offset)?;
        passed = Query { before: Some(before), offset: 0, ..query.clone() };
        &passed
    } else {
        query
    };
    let lists = select::select(connection, query, Road::List)?;
    let mut collector = Collector::new(connection, bodies, query)?;
    let trigrams = collector.texts.trigrams();
    let prepare = |list: &select::Select| connection.prepare_cached(&list.text);
    let mut statements = lists.iter().map(prepare).collect::<rusqlite::Result<Vec<_>>>()?;
    let walks = statements.iter_mut().zip(&lists);
    let walks = walks.map(|(statement, list)| statement.query(params_from_iter(&list.values)));
    let mut walks = walks.collect::<rusqlite::Result<std::collections::VecDeque<_>>>()?;
    // Where it is one without a text, the statement passes over what comes first.
    let to_pass = if query.is_of_text() || lists.len() > 1 { query.offset } else { 0 };
    let mut numbers = match &trigrams {
        Some(_) => Some(connection.prepare_cached(texts::CANDIDATES)?),
        None => None,
    };
    let mut candidates = match (&mut numbers, trigrams) {
        (Some(numbers), Some(trigrams)) => Candidates::new(connection, query, numbers, trigrams)?,
        _ => None,
    };
    let (mut by_list, mut by_text) = (Page::of(query.limit, to_pass), Page::of(query.limit, to_pass));
    while !by_list.is_full() && !by_text.is_full() {
        let Some(walk) = walks.front_mut() else { return Ok(by_list.found) };
        let Some(row) = walk.next()? else {
            walks.pop_front();
            continue;
        };
        collector.look(row, &mut by_list)?;
        if let Some(road) = &mut candidates {
            match road.step(&mut collector, &mut by_text) {
                Ok(true) => {}
                Ok(false) => return Ok(by_text.found),
                // It is the index, mostly; the other road does without it.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                    candidates = None;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(if by_list.is_full() { by_list.found } else { by_text.found })
}

impl Page {
    fn of(limit: usize, to_pass: usize) -> Self {
        Self { to_pass, limit, found: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }
}

impl<'c> Collector<'c> {
    fn new(connection: &'c Connection, bodies: &'c Folder, query: &Query) -> rusqlite::Result<Self> {
        let texts = Texts::new(connection, bodies, query)?;
        let attempts = connection.prepare_cached(&select::attempts("x'' AS headers, x'' AS body"))?;
        Ok(Self { texts, attempts, bodies })
    }

    /// Puts the delivery of a row on the page, when it has the texts.
    fn look(&mut self, row: &Row<'_>, page: &mut Page) -> rusqlite::Result<()> {
        if !self.texts.are_in(row)? {
            return Ok(());
        }
        if page.to_pass > 0 {
            page.to_pass -= 1;
            return Ok(());
        }
        let mut delivery = row::delivery(row)?;
        delivery.attempts = row::attempts(&mut self.attempts, delivery.number, self.bodies)?;
        page.found.push(delivery);
        Ok(())
    }
}

impl<'s> Candidates<'s> {
    fn new(
        connection: &'s Connection,
        query: &Query,
        numbers: &'s mut CachedStatement<'_>,
        trigrams: String,
    ) -> rusqlite::Result<Option<Self>> {
        let singles = select::select(connection, query, Road::Single)?;
        let Some(single) = singles.into_iter().next() else { return Ok(None) };
        let bounds = (query.before.unwrap_or(i64::MAX), query.after.unwrap_or(i64::MIN));
        let numbers = numbers.query((trigrams, bounds.0, bounds.1))?;
        Ok(Some(Self { numbers, single: connection.prepare_cached(&single.text)?, values: single.values }))
    }

    /// Looks at the next candidate; whether there was one.
    fn step(&mut self, collector: &mut Collector<'_>, page: &mut Page) -> rusqlite::Result<bool> {
        let Some(candidate) = self.numbers.next()? else { return Ok(false) };
        self.values[0] = Value::Integer(candidate.get(0)?);
        let mut rows = self.single.query(params_from_iter(&self.values))?;
        if let Some(row) = rows.next()? {
            collector.look(row, page)?;
        }
        Ok(true)
    }
}
