//! Reading the record, beside whoever writes it.

use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::bodies::Folder;
use super::{
    Query, Recorded, Selector, StoreError, Stretch, bodies, file, gone, insert, page, room, row, schema,
    select,
};
use crate::model::{ChannelId, Delivery, Request};

/// How many deliveries are looked at a time where all are wanted.
const PAGE: usize = 1000;

/// A reading connection. Its methods block; each sees the record as it was at one moment.
#[derive(Debug)]
pub struct Reader {
    file: PathBuf,
    pub(super) connection: Connection,
    bodies: Folder,
}

impl Reader {
    /// Opens the record in `folder`; `None` when there is none yet. One of an older format is brought up to date.
    pub fn open(folder: &Path) -> Result<Option<Self>, StoreError> {
        let file = match file::locate(folder, file::NAME) {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            file => file?,
        };
        if !file::exists(&file)? {
            return Ok(None);
        }
        Self::at(file).map(Some)
    }

    /// Opens a record that is there.
    pub(super) fn at(file: PathBuf) -> Result<Self, StoreError> {
        // Reading takes some space, too: for the index of the log.
        let connection = room::with_reserve(&file, || {
            let connection = file::open_for_reading(&file)?;
            if schema::check_owner(&connection, &file)? {
                return Ok(connection);
            }
            drop(file::open_for_writing(&file)?);
            file::open_for_reading(&file)
        })?;
        let bodies = Folder::beside(&file);
        Ok(Self { file, connection, bodies })
    }

    /// The deliveries that fit, newest first. Of an attempt's answer, headers and body are left empty.
    ///
    /// A search uses the text index for three or more characters in a row; otherwise, and for what the index does not
    /// have yet, it reads every delivery that fits otherwise until it has found enough.
    pub fn list(&self, query: &Query) -> Result<Vec<Delivery>, StoreError> {
        let list = || self.at_one_moment(|| page::page(&self.connection, &self.bodies, query));
        // A body may be pruned while its row is still in sight; now it is not any more.
        list().or_else(|error| if matches!(error, StoreError::Lost { .. }) { list() } else { Err(error) })
    }

    /// The numbers of all that fit, newest first and `most` at the most; only a page of deliveries is in memory. `go_on`
    /// looks at each page and may end it.
    pub fn numbers(
        &self,
        query: &Query,
        most: usize,
        mut go_on: impl FnMut(&[Delivery]) -> bool,
    ) -> Result<Vec<i64>, StoreError> {
        let mut numbers: Vec<i64> = Vec::new();
        let mut query = query.clone();
        loop {
            query.limit = PAGE.min(most - numbers.len());
            let page = self.list(&query)?;
            numbers.extend(page.iter().map(|delivery| delivery.number));
            if page.len() < PAGE || numbers.len() >= most || !go_on(&page) {
                return Ok(numbers);
            }
            query.before = numbers.last().copied();
            query.offset = 0;
        }
    }

    /// How many deliveries fit, its limit and its text left out of account.
    pub fn count(&self, query: &Query) -> Result<u64, StoreError> {
        if query.is_plain() {
            let count = || gone::count(&self.connection, query.after, query.before);
            return self.at_one_moment(count).map(|count| u64::try_from(count).unwrap_or_default());
        }
        self.at_one_moment(|| match select::count(&self.connection, query)? {
            Some(select) => {
                let mut statement = self.connection.prepare_cached(&select.text)?;
                let count: i64 = statement.query_row(params_from_iter(&select.values), |row| row.get(0))?;
                Ok(u64::try_from(count).unwrap_or_default())
            }
            None => Ok(0),
        })
    }

    /// How many deliveries were deleted in all, however they were.
    pub fn gone(&self) -> Result<i64, StoreError> {
        self.at_one_moment(|| gone::sum(&self.connection))
    }

    /// The stretches of numbers that were deleted, lowest first; up to so many of the highest.
    pub fn gone_stretches(&self, most: usize) -> Result<Vec<Stretch>, StoreError> {
        self.at_one_moment(|| gone::stretches(&self.connection, most))
    }

    /// A delivery with everything that was kept of it; `None` when there is none like that.
    pub fn find(&self, selector: &Selector) -> Result<Option<Recorded>, StoreError> {
        let found = self.at_one_moment(|| {
            let Some((mut delivery, request)) = self.delivery(selector)? else { return Ok(None) };
            let mut attempts = self.connection.prepare_cached(&select::attempts("headers, body"))?;
            delivery.attempts = row::attempts(&mut attempts, delivery.number, &self.bodies)?;
            Ok(Some(Recorded { delivery, request }))
        });
        // A large body may have been pruned while it was read: then its row is gone by now.
        let is_whole = |recorded: &Recorded| {
            let answers = recorded.delivery.attempts.iter().map(|attempt| insert::answer_body(attempt));
            !answers.chain([&recorded.request.body[..]]).any(bodies::is_large)
        };
        match found {
            Ok(Some(recorded)) if is_whole(&recorded) => Ok(Some(recorded)),
            Ok(Some(_)) | Err(StoreError::Lost { .. }) if !self.has(selector)? => Ok(None),
            found => found,
        }
    }

    /// The targets that deliveries wait for.
    pub fn awaited(&self) -> Result<Vec<String>, StoreError> {
        self.at_one_moment(|| {
            let mut statement = self.connection.prepare_cached("SELECT DISTINCT target FROM held")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// The number of the oldest delivery that waits for `target`.
    pub fn first_held(&self, target: &str) -> Result<Option<i64>, StoreError> {
        self.at_one_moment(|| {
            let text = "SELECT delivery FROM held WHERE target = ?1 ORDER BY delivery LIMIT 1";
            self.connection.prepare_cached(text)?.query_row([target], |row| row.get(0)).optional()
        })
    }

    /// The highest number that is given, 0 when there is none.
    pub fn last_number(&self) -> Result<i64, StoreError> {
        self.at_one_moment(|| {
            let text = "SELECT coalesce(max(number), 0) FROM deliveries";
            self.connection.prepare_cached(text)?.query_row([], |row| row.get(0))
        })
    }

    /// How far a channel of a relay is recorded: the highest of its numbers, 0 when there is none.
    pub fn last_relayed(&self, channel: &ChannelId) -> Result<i64, StoreError> {
        self.at_one_moment(|| {
            let text = "SELECT coalesce(max(seq), 0) FROM relayed WHERE channel = ?1";
            self.connection.prepare_cached(text)?.query_row([channel.bytes()], |row| row.get(0))
        })
    }

    /// The delivery that a relay sent with this number of its own.
    pub fn relayed(&self, channel: &ChannelId, seq: i64) -> Result<Option<Recorded>, StoreError> {
        let number = self.at_one_moment(|| {
            let text = "SELECT delivery FROM relayed WHERE channel = ?1 AND seq = ?2";
            let number = |row: &Row<'_>| row.get(0);
            self.connection.prepare_cached(text)?.query_row((channel.bytes(), seq), number).optional()
        })?;
        number.map_or(Ok(None), |number| self.find(&Selector::Number(number)))
    }

    /// Reads as the record is at one moment.
    pub(super) fn at_one_moment<T>(
        &self,
        read: impl FnOnce() -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let failed = |error: rusqlite::Error| StoreError::from_sqlite(&self.file, &error);
        let moment = self.connection.unchecked_transaction().map_err(failed)?;
        let found = read().map_err(failed)?;
        moment.commit().map_err(failed)?;
        Ok(found)
    }

    fn delivery(&self, selector: &Selector) -> rusqlite::Result<Option<(Delivery, Request)>> {
        let (column, value) = key(selector);
        let text = format!(
            "SELECT d.number AS number, {}, d.headers AS headers, d.body AS body
             FROM deliveries AS d WHERE d.{column} = ?1",
            select::delivery_columns()
        );
        let whole = |row: &Row<'_>| Ok((row::delivery(row)?, row::request(row, &self.bodies)?));
        self.connection.prepare_cached(&text)?.query_row([value], whole).optional()
    }

    fn has(&self, selector: &Selector) -> Result<bool, StoreError> {
        let (column, value) = key(selector);
        let text = format!("SELECT 1 FROM deliveries WHERE {column} = ?1");
        self.at_one_moment(|| Ok(self.connection.query_row(&text, [value], |_| Ok(())).optional()?.is_some()))
    }
}

/// The column that a selector goes by, and its value.
fn key(selector: &Selector) -> (&'static str, Value) {
    match selector {
        Selector::Id(id) => ("id", row::id_bytes(id).to_vec().into()),
        Selector::Number(number) => ("number", Value::from(*number)),
    }
}
