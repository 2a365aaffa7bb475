//! How many connections come from one address: whoever opens more than it may is told so, and is let go soon.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A cloneable handle to the counts.
#[derive(Clone)]
pub(super) struct Neighbours {
    most: usize,
    is_exempt: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that is counted until this is dropped.
pub(super) struct Seat {
    neighbours: Neighbours,
    of: IpAddr,
    /// Whether it is one more than its address may have.
    pub is_one_too_many: bool,
}

impl Neighbours {
    /// At most so many connections of each address, unless it is exempt.
    pub fn new(most: usize, is_exempt: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>) -> Self {
        Self { most, is_exempt, counts: Arc::default() }
    }

    /// Counts a connection of an address; nothing when it is exempt.
    pub fn enter(&self, address: IpAddr) -> Option<Seat> {
        if (self.is_exempt)(address) {
            return None;
        }
        let of = subscriber(address);
        let mut counts = self.lock();
        let count = counts.entry(of).or_default();
        *count += 1;
        Some(Seat { is_one_too_many: *count > self.most, neighbours: self.clone(), of })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.neighbours.lock();
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Neighbours").field("most", &self.most).finish_non_exhaustive()
    }
}

/// What one subscriber has of the internet: an address of IPv4, or a network of IPv6 with 64 bits.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subscriber_has_so_many_and_gets_them_back() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let neighbours = Neighbours::new(2, Arc::new(move |address| address == at("9.9.9.9")));
        let seats: Vec<_> =
            ["1.2.3.4", "::ffff:1.2.3.4", "1.2.3.4", "2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::"]
                .map(|text| neighbours.enter(at(text)).unwrap())
                .into_iter()
                .collect();
        let too_many: Vec<bool> = seats.iter().map(|seat| seat.is_one_too_many).collect();
        assert_eq!(too_many, [false, false, true, false, false, false]);
        assert!(neighbours.enter(at("2001:db8::3")).unwrap().is_one_too_many);
        assert!(neighbours.enter(at("9.9.9.9")).is_none());
        drop(seats);
        assert!(neighbours.lock().is_empty());
        assert!(!neighbours.enter(at("1.2.3.4")).unwrap().is_one_too_many);
    }
}
