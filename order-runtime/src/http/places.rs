//! Limits of connections: in total, for one address, and a reserve for health checks.
//!
//! A connection is accepted before its request is known, so health checks cannot have places of their own. Instead, a
//! connection beyond a limit gets a place in the reserve, where only probes are answered. A full reserve gives up its oldest
//! place, so idle connections cannot keep a probe out.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Maximum number of connections.
const CONNECTIONS: usize = 512;
/// Maximum number of connections of one address, so that one client cannot use all places.
const OF_ADDRESS: usize = 256;
/// Maximum number of connections beyond these limits, which are answered for health and metrics only.
const RESERVE: usize = 32;

/// The places of one listener.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    by_address: HashMap<IpAddr, usize>,
    ordinary: usize,
    reserve: VecDeque<Reserved>,
}

#[derive(Debug, Clone)]
struct Reserved {
    address: IpAddr,
    given_up: CancellationToken,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    places: Arc<Places>,
    address: IpAddr,
    /// `None` for an ordinary place. For a place in the reserve: cancelled when a later connection needs the place.
    reserve: Option<CancellationToken>,
}

impl ConnectionSlot {
    /// For a place in the reserve: cancelled when the connection must end.
    pub(super) fn reserve(&self) -> Option<&CancellationToken> {
        self.reserve.as_ref()
    }
}

impl Places {
    /// Takes a place for a connection from `peer`.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> ConnectionSlot {
        let address = client(peer);
        let mut taken = self.0.lock();
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        let reserve = if taken.ordinary < CONNECTIONS && of_address < OF_ADDRESS {
            taken.ordinary += 1;
            taken.by_address.insert(address, of_address + 1);
            None
        } else {
            let given_up = CancellationToken::new();
            taken.reserve.push_back(Reserved { address, given_up: given_up.clone() });
            taken.shrink_reserve();
            Some(given_up)
        };
        ConnectionSlot { places: Arc::clone(self), address, reserve }
    }
}

impl Taken {
    /// If the reserve is too full, gives up the oldest place of the address that has the most.
    fn shrink_reserve(&mut self) {
        if self.reserve.len() <= RESERVE {
            return;
        }
        let of = |address: IpAddr| self.reserve.iter().filter(|place| place.address == address).count();
        let most = self.reserve.iter().map(|place| of(place.address)).max();
        let oldest = self.reserve.iter().position(|place| Some(of(place.address)) == most);
        if let Some(oldest) = oldest.and_then(|oldest| self.reserve.remove(oldest)) {
            oldest.given_up.cancel();
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(given_up) = &self.reserve {
            // A place that was given up is already cancelled and removed from the reserve.
            given_up.cancel();
            taken.reserve.retain(|place| !place.given_up.is_cancelled());
            return;
        }
        taken.ordinary -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// The address that identifies a client: an IPv4 address, or the network of an IPv6 address, because one client has a whole
/// network.
pub(super) fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn is_given_up(place: &ConnectionSlot) -> bool {
        place.reserve().is_some_and(CancellationToken::is_cancelled)
    }

    #[test]
    fn one_address_cannot_use_all_places() {
        let places = Arc::new(Places::default());
        let mut greedy: Vec<ConnectionSlot> = (0..OF_ADDRESS).map(|_| places.take(address(1))).collect();
        assert!(greedy.iter().all(|place| place.reserve().is_none()));
        assert!(places.take(address(1)).reserve().is_some());
        assert!(places.take(address(2)).reserve().is_none());
        greedy.pop();
        assert!(places.take(address(1)).reserve().is_none(), "a returned place is reused");
    }

    #[test]
    fn the_connections_of_all_addresses_are_limited() {
        let places = Arc::new(Places::default());
        let of = |number: u32| places.take(IpAddr::V4(number.into()));
        let taken: Vec<ConnectionSlot> = (1..).map(of).take(CONNECTIONS).collect();
        assert!(taken.iter().all(|place| place.reserve().is_none()));
        assert!(places.take(address(1)).reserve().is_some());
        drop(taken);
        assert!(places.take(address(1)).reserve().is_none());
        assert_eq!(places.0.lock().by_address.len(), 0, "addresses without a connection are removed");
    }

    #[test]
    fn a_full_reserve_gives_up_the_oldest_place_of_the_address_with_the_most() {
        let places = Arc::new(Places::default());
        let _ordinary: Vec<ConnectionSlot> = (0..OF_ADDRESS).map(|_| places.take(address(1))).collect();
        let mut probe_places: Vec<ConnectionSlot> = (0..OF_ADDRESS).map(|_| places.take(address(2))).collect();
        probe_places.push(places.take(address(2)));
        let greedy: Vec<ConnectionSlot> = (0..RESERVE + 5).map(|_| places.take(address(1))).collect();
        let given_up: Vec<usize> = (0..greedy.len()).filter(|place| is_given_up(&greedy[*place])).collect();
        assert_eq!(given_up, [0, 1, 2, 3, 4, 5]);
        assert!(!is_given_up(&probe_places[OF_ADDRESS]), "another address keeps its place");
        drop(greedy);
        assert_eq!(places.0.lock().reserve.len(), 1);
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let of = |text: &str| client(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), address(1));
    }
}
