//! How many connections each address has. One client must not take the places of all others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections by address.
#[derive(Debug)]
pub(super) struct Peers {
    most: usize,
    connections: Mutex<HashMap<IpAddr, usize>>,
}

impl Peers {
    /// At most `most` connections from each address.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Peers { most: most.max(1), connections: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No holder of the lock can panic halfway.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection from this address, unless it has the most.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<PeerPlace> {
        // An IPv4 address may come in IPv6 form.
        let address = address.to_canonical();
        let mut connections = self.lock();
        let count = connections.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(PeerPlace { peers: Arc::clone(self), address })
    }
}

/// The place of one connection, free again once it is dropped.
#[derive(Debug)]
pub(super) struct PeerPlace {
    peers: Arc<Peers>,
    address: IpAddr,
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut connections = self.peers.lock();
        if let Some(count) = connections.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_no_more() {
        let peers = Peers::new(2);
        let [a, b]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().expect("good"));
        let places = [peers.enter(a), peers.enter("::ffff:10.0.0.1".parse().expect("good"))];
        assert!(places.iter().all(Option::is_some) && peers.enter(a).is_none());
        assert!(peers.enter(b).is_some(), "others have places of their own");
        drop(places);
        assert!(peers.enter(a).is_some() && peers.lock().is_empty());
    }
}
