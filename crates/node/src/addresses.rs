//! Assigns loopback addresses to pods.
//!
//! All of 127.0.0.0/8 is this machine, so every pod can have an address without any configuration.
//! An address belongs to (namespace, owner, pod name) and not to one pod object, so a recreated
//! replica keeps its address. The first address depends on the state directory, so that two agents
//! on one machine assign different ones.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    net::Ipv4Addr,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::state::read_json;

/// The first address: the range is 127.64.0.0/10. People use the lower part of 127/8 by hand.
const BASE: u32 = u32::from_be_bytes([127, 64, 0, 0]);
/// Number of addresses.
const COUNT: u32 = 1 << 22;
/// Number of addresses that can be assigned, without the first and last of each 256.
const USABLE: usize = (COUNT / 256 * 254) as usize;
/// The table of foreign sockets is read once per this many addresses.
const BLOCK: u32 = 256;

/// The owner of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) namespace: String,
    /// Uid of the pod's controller, or of the pod if it has none.
    pub(crate) uid: String,
}

/// The assigned addresses, kept in a file of the state directory.
#[derive(Debug)]
pub(crate) struct Addresses {
    path: PathBuf,
    saved: Saved,
    used: HashSet<Ipv4Addr>,
    /// Addresses of the range on which another process has a socket.
    foreign: HashSet<Ipv4Addr>,
    /// Whether [`Self::unsaved`] has something to save.
    is_changed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// Offset of the next address to try.
    next: u32,
    /// By namespace, owner uid and pod name.
    #[serde(rename = "given")]
    assigned: BTreeMap<String, BTreeMap<String, BTreeMap<String, Ipv4Addr>>>,
}

impl Addresses {
    /// Reads the earlier assignments. `seed` selects the first address of a new file.
    pub(crate) fn open(path: PathBuf, seed: u32) -> Self {
        let first = (seed % (COUNT / BLOCK)) * BLOCK;
        let saved: Saved =
            read_json(&path).unwrap_or_else(|| Saved { next: first, ..Saved::default() });
        let used = saved
            .assigned
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(BTreeMap::values)
            .copied()
            .collect();
        Self { path, saved, used, foreign: local_addresses(), is_changed: false }
    }

    /// The address of a pod. It stays the same until it is released, and over a restart once it is
    /// saved. Assigning does not save: that costs as much as all assignments together.
    pub(crate) fn of(&mut self, owner: &Owner, pod: &str) -> io::Result<Ipv4Addr> {
        let known = self
            .saved
            .assigned
            .get(&owner.namespace)
            .and_then(|owners| owners.get(&owner.uid)?.get(pod));
        if let Some(&address) = known {
            return Ok(address);
        }
        let address = self.free()?;
        self.used.insert(address);
        self.saved
            .assigned
            .entry(owner.namespace.clone())
            .or_default()
            .entry(owner.uid.clone())
            .or_default()
            .insert(pod.to_owned(), address);
        self.is_changed = true;
        Ok(address)
    }

    /// All owners of addresses.
    pub(crate) fn owners(&self) -> Vec<Owner> {
        let assigned = self.saved.assigned.iter();
        assigned
            .flat_map(|(namespace, owners)| {
                owners.keys().map(|uid| Owner { namespace: namespace.clone(), uid: uid.clone() })
            })
            .collect()
    }

    /// Releases all addresses of an owner.
    pub(crate) fn release(&mut self, owner: &Owner) {
        let Some(owners) = self.saved.assigned.get_mut(&owner.namespace) else { return };
        for address in owners.remove(&owner.uid).unwrap_or_default().values() {
            self.used.remove(address);
        }
        if owners.is_empty() {
            self.saved.assigned.remove(&owner.namespace);
        }
        self.is_changed = true;
    }

    /// The file and its new content, if something changed since the last call.
    pub(crate) fn unsaved(&mut self) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
        if !self.is_changed {
            return Ok(None);
        }
        let content = serde_json::to_vec(&self.saved).map_err(io::Error::other)?;
        self.is_changed = false;
        Ok(Some((self.path.clone(), content)))
    }

    /// Reports that the result of [`Self::unsaved`] could not be written.
    pub(crate) const fn not_saved(&mut self) {
        self.is_changed = true;
    }

    fn free(&mut self) -> io::Result<Ipv4Addr> {
        // Without a search, which would take long for each further pod.
        let attempts = if self.used.len() < USABLE { COUNT } else { 0 };
        for _ in 0..attempts {
            let offset = self.saved.next % COUNT;
            self.saved.next = (offset + 1) % COUNT;
            if offset.is_multiple_of(BLOCK) {
                self.foreign = local_addresses();
            }
            let address = Ipv4Addr::from_bits(BASE + offset);
            // Some programs treat .0 and .255 as network and broadcast addresses.
            let usable = !matches!(address.octets(), [.., 0 | 255]);
            if usable && !self.used.contains(&address) && !self.foreign.contains(&address) {
                return Ok(address);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "all loopback addresses are in use"))
    }
}

/// The local addresses of all IPv4 sockets of this machine.
fn local_addresses() -> HashSet<Ipv4Addr> {
    ["/proc/net/tcp", "/proc/net/udp"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| table.lines().filter_map(local_address).collect::<Vec<_>>())
        .collect()
}

/// The second column of `/proc/net/tcp`: the address in memory order as a hexadecimal number, then
/// the port.
fn local_address(line: &str) -> Option<Ipv4Addr> {
    let (address, _port) = line.split_ascii_whitespace().nth(1)?.split_once(':')?;
    Some(u32::from_str_radix(address, 16).ok()?.to_ne_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> Owner {
        Owner { namespace: "ns".to_owned(), uid: uid.to_owned() }
    }

    #[test]
    fn an_address_survives_a_restart_of_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("addresses.json");
        let mut first = Addresses::open(path.clone(), 7);
        let a = first.of(&owner("job"), "w-0").unwrap();
        let b = first.of(&owner("job"), "w-1").unwrap();
        let other = first.of(&owner("other"), "w-0").unwrap();
        assert!(a != b && a != other && b != other);
        assert!(a.is_loopback() && a.octets()[1] >= 64);
        let (file, content) = first.unsaved().unwrap().unwrap();
        assert_eq!((&file, first.unsaved().unwrap()), (&path, None));
        mxjob_files::write(&file, &content).unwrap();
        let mut again = Addresses::open(path, 99);
        assert_eq!(again.of(&owner("job"), "w-0").unwrap(), a);
        assert_eq!(again.of(&owner("other"), "w-0").unwrap(), other);
        assert_ne!(again.of(&owner("new"), "w-0").unwrap(), a);
    }

    #[test]
    fn a_released_address_is_assigned_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut addresses = Addresses::open(dir.path().join("a"), 0);
        let address = addresses.of(&owner("job"), "w-0").unwrap();
        addresses.release(&owner("job"));
        assert!(addresses.owners().is_empty());
        addresses.saved.next = address.to_bits() - BASE;
        assert_eq!(addresses.of(&owner("new"), "x").unwrap(), address);
    }

    #[test]
    fn the_first_and_last_address_of_a_block_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let mut addresses = Addresses::open(dir.path().join("a"), 0);
        addresses.saved.next = 254;
        let octets: Vec<u8> = (0..3)
            .map(|n| addresses.of(&owner("j"), &format!("p{n}")).unwrap().octets()[3])
            .collect();
        assert_eq!(octets, [254, 1, 2]);
    }

    #[test]
    fn the_socket_table_is_parsed() {
        let line =
            format!("   0: {:08X}:1F90 00000000:0000 0A", u32::from_ne_bytes([127, 64, 0, 9]));
        assert_eq!(local_address(&line), Some(Ipv4Addr::new(127, 64, 0, 9)));
        assert_eq!(local_address("  sl  local_address rem_address"), None);
    }
}
