//! How many tunnels are open, in all and for each access token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::relay::TokenHash;

/// How many tunnels of one listen token there may be at a time: one is displaced by the next, which takes a moment.
const MOST_OF_TOKEN: usize = 64;

/// The places for tunnels.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of whom, and how many there are for each listen token: a newer tunnel takes the place of its older one.
    by_tenant: HashMap<Arc<str>, HashMap<TokenHash, usize>>,
}

/// A place that is free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    tenant: Arc<str>,
    token: TokenHash,
}

impl Places {
    /// So many places.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// Takes a place for somebody who may have `most_of_tenant` together with others; `None` when there is none.
    pub fn take(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        token: TokenHash,
        most_of_tenant: Option<usize>,
    ) -> Option<Place> {
        let mut taken = self.lock();
        let of_tenant = taken.by_tenant.get(tenant);
        let of_token = of_tenant.and_then(|tokens| tokens.get(&token)).copied().unwrap_or_default();
        let has_room = most_of_tenant.is_none_or(|most| of_tenant.map_or(0, HashMap::len) < most);
        // Whoever takes the place of an older tunnel needs no place of its own, however full it is.
        let fits = if of_token > 0 { of_token < MOST_OF_TOKEN } else { taken.all < self.most && has_room };
        if !fits {
            return None;
        }
        taken.all += 1;
        *taken.by_tenant.entry(Arc::clone(tenant)).or_default().entry(token).or_default() += 1;
        Some(Place { places: Arc::clone(self), tenant: Arc::clone(tenant), token })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        let Some(tokens) = taken.by_tenant.get_mut(&self.tenant) else { return };
        if let Some(count) = tokens.get_mut(&self.token) {
            *count -= 1;
        }
        tokens.retain(|_, count| *count > 0);
        if tokens.is_empty() {
            taken.by_tenant.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_again_needs_no_second_place_of_its_tenant() {
        let places = Places::new(4);
        let (one, other) = (TokenHash([1; 32]), TokenHash([2; 32]));
        let take = |tenant: &str, token| places.take(&tenant.into(), token, Some(1));
        let first = take("a", one).unwrap();
        assert!(take("a", other).is_none());
        let again = take("a", one).unwrap();
        let of_another = take("b", other).unwrap();
        drop(first);
        assert!(take("a", other).is_none());
        drop(again);
        let next = take("a", other).unwrap();
        let rest: Vec<Place> = (0..4_u8).map_while(|tenant| take(&tenant.to_string(), one)).collect();
        assert_eq!(rest.len(), 2);
        // It is full, and the next tunnel of the same token comes in all the same.
        assert!(take("0", other).is_none() && take("0", one).is_some());
        drop((next, of_another, rest));
        let most: Vec<Place> = std::iter::repeat_with(|| take("a", one)).map_while(|place| place).collect();
        assert_eq!(most.len(), MOST_OF_TOKEN);
        drop(most);
        assert_eq!(places.lock().all, 0);
        assert!(places.lock().by_tenant.is_empty());
    }
}
