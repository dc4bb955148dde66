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

/// The first address: the range is 127.64.0.0/10. People use the lower part of 127/8 by hand.
const BASE: u32 = u32::from_be_bytes([127, 64, 0, 0]);
/// Number of addresses.
const COUNT: u32 = 1 << 22;
/// Number of addresses that can be assigned, without the first and last of each 256.
const USABLE: usize = (COUNT / 256 * 254) as usize;
/// The table of foreign sockets is read once per this many addresses.
const BLOCK: u32 = 256;

/// The owner of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) namespace: String,
    /// Uid of the pod's controller, or of the pod if it has none.
    pub(crate) uid: String,
}

/// The assigned addresses, and the log of assignments in the state directory.
#[derive(Debug)]
pub(crate) struct Addresses {
    path: PathBuf,
    /// By owner and pod name.
    assigned: BTreeMap<Owner, BTreeMap<String, Ipv4Addr>>,
    used: HashSet<Ipv4Addr>,
    /// Addresses of the range on which another process has a socket.
    foreign: HashSet<Ipv4Addr>,
    /// Offset of the next address to try.
    next: u32,
    /// Entries that are not in the log yet.
    pending: Vec<Entry>,
    /// Entries in the log; `None` if the log must be rewritten.
    logged: Option<usize>,
}

/// A line of the log. Later lines count more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Entry {
    Assigned {
        owner: Owner,
        pod: String,
        address: Ipv4Addr,
    },
    Released(Owner),
    /// The offset of the next address to try.
    Next(u32),
}

/// A change of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unsaved {
    /// Lines to append.
    Append(Vec<u8>),
    /// The whole content.
    Replace(Vec<u8>),
}

/// The log is rewritten when it has more entries than this, and most of them are outdated.
const MIN_LOG: usize = 1024;

impl Addresses {
    /// Reads the earlier assignments. `seed` selects the first address of a new log.
    pub(crate) fn open(path: PathBuf, seed: u32) -> Self {
        let mut opened = Self {
            path,
            assigned: BTreeMap::new(),
            used: HashSet::new(),
            foreign: local_addresses(),
            next: (seed % (COUNT / BLOCK)) * BLOCK,
            pending: Vec::new(),
            logged: Some(0),
        };
        let text = fs::read(&opened.path).unwrap_or_default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            // A crash can leave half a line at the end.
            match serde_json::from_slice(line) {
                Ok(entry) if line.ends_with(b"\n") => opened.replay(entry),
                _ => opened.logged = None,
            }
        }
        opened
    }

    fn replay(&mut self, entry: Entry) {
        self.logged = self.logged.map(|logged| logged + 1);
        match entry {
            Entry::Assigned { owner, pod, address } => {
                self.next = address.to_bits().wrapping_sub(BASE).wrapping_add(1);
                self.used.insert(address);
                self.assigned.entry(owner).or_default().insert(pod, address);
            }
            Entry::Released(owner) => self.forget(&owner),
            Entry::Next(next) => self.next = next,
        }
    }

    /// The address of a pod. It stays the same until it is released, and over a restart once it is
    /// saved.
    pub(crate) fn of(&mut self, owner: &Owner, pod: &str) -> io::Result<Ipv4Addr> {
        if let Some(&address) = self.assigned.get(owner).and_then(|pods| pods.get(pod)) {
            return Ok(address);
        }
        let address = self.free()?;
        self.used.insert(address);
        self.assigned.entry(owner.clone()).or_default().insert(pod.to_owned(), address);
        self.pending.push(Entry::Assigned { owner: owner.clone(), pod: pod.to_owned(), address });
        Ok(address)
    }

    /// All owners of addresses.
    pub(crate) fn owners(&self) -> Vec<Owner> {
        self.assigned.keys().cloned().collect()
    }

    /// Releases all addresses of an owner.
    pub(crate) fn release(&mut self, owner: &Owner) {
        self.forget(owner);
        self.pending.push(Entry::Released(owner.clone()));
    }

    fn forget(&mut self, owner: &Owner) {
        for address in self.assigned.remove(owner).unwrap_or_default().values() {
            self.used.remove(address);
        }
    }

    /// The file, and the change since the last call, if there is one. A change costs as much as
    /// itself: the whole log is written only when most of it is outdated.
    pub(crate) fn unsaved(&mut self) -> io::Result<Option<(PathBuf, Unsaved)>> {
        if self.pending.is_empty() && self.logged.is_some() {
            return Ok(None);
        }
        let logged = self.logged.map(|logged| logged + self.pending.len());
        let is_outdated = |logged: usize| logged > MIN_LOG && logged / 2 > self.used.len();
        let change = match logged {
            Some(logged) if !is_outdated(logged) => {
                self.logged = Some(logged);
                Unsaved::Append(lines(&self.pending)?)
            }
            _ => {
                let all = self.entries();
                self.logged = Some(all.len());
                Unsaved::Replace(lines(&all)?)
            }
        };
        self.pending.clear();
        Ok(Some((self.path.clone(), change)))
    }

    fn entries(&self) -> Vec<Entry> {
        let mut all = Vec::with_capacity(self.used.len() + 1);
        for (owner, pods) in &self.assigned {
            all.extend(pods.iter().map(|(pod, address)| Entry::Assigned {
                owner: owner.clone(),
                pod: pod.clone(),
                address: *address,
            }));
        }
        // An address that was released just now is not assigned again soon.
        all.push(Entry::Next(self.next));
        all
    }

    /// Reports that the result of [`Self::unsaved`] could not be written.
    pub(crate) const fn not_saved(&mut self) {
        self.logged = None;
    }

    fn free(&mut self) -> io::Result<Ipv4Addr> {
        // Without a search, which would take long for each further pod.
        let attempts = if self.used.len() < USABLE { COUNT } else { 0 };
        for _ in 0..attempts {
            let offset = self.next % COUNT;
            self.next = (offset + 1) % COUNT;
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

fn lines(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, entry).map_err(io::Error::other)?;
        text.push(b'\n');
    }
    Ok(text)
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

    fn save(addresses: &mut Addresses) -> bool {
        match addresses.unsaved().unwrap() {
            None => false,
            Some((path, Unsaved::Append(lines))) => {
                mxjob_files::append(&path, &lines).unwrap();
                false
            }
            Some((path, Unsaved::Replace(content))) => {
                mxjob_files::write(&path, &content).unwrap();
                true
            }
        }
    }

    #[test]
    fn an_address_survives_a_restart_of_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("addresses");
        let mut first = Addresses::open(path.clone(), 7);
        let a = first.of(&owner("job"), "w-0").unwrap();
        let b = first.of(&owner("job"), "w-1").unwrap();
        let other = first.of(&owner("other"), "w-0").unwrap();
        assert!(a != b && a != other && b != other);
        assert!(a.is_loopback() && a.octets()[1] >= 64);
        save(&mut first);
        assert_eq!(first.unsaved().unwrap(), None);
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
        addresses.next = address.to_bits() - BASE;
        assert_eq!(addresses.of(&owner("new"), "x").unwrap(), address);
    }

    #[test]
    fn released_addresses_leave_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut addresses = Addresses::open(path.clone(), 0);
        let kept = addresses.of(&owner("kept"), "w-0").unwrap();
        let (mut rewritten, mut newest) = (0, kept);
        for job in 0..2 * MIN_LOG {
            let job = owner(&format!("job-{job}"));
            newest = addresses.of(&job, "w-0").unwrap();
            addresses.release(&job);
            rewritten += usize::from(save(&mut addresses));
        }
        assert_eq!(rewritten, 4, "the log is rewritten once per {MIN_LOG} entries");
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= MIN_LOG, "{lines} lines");
        assert_eq!(addresses.used.len(), 1);
        let mut again = Addresses::open(path, 0);
        assert_eq!(again.owners(), [owner("kept")]);
        assert_eq!(again.of(&owner("kept"), "w-0").unwrap(), kept);
        // A program may still use the address that was released last.
        let next = again.of(&owner("new"), "w-0").unwrap();
        assert!(next > newest, "{next} after {newest}");
    }

    #[test]
    fn half_a_line_at_the_end_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut addresses = Addresses::open(path.clone(), 0);
        let address = addresses.of(&owner("job"), "w-0").unwrap();
        save(&mut addresses);
        mxjob_files::append(&path, br#"{"assigned":{"owner":{"namesp"#).unwrap();
        let mut again = Addresses::open(path.clone(), 0);
        assert!(save(&mut again), "the log is rewritten");
        assert_eq!(Addresses::open(path, 0).of(&owner("job"), "w-0").unwrap(), address);
    }

    #[test]
    fn the_first_and_last_address_of_a_block_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let mut addresses = Addresses::open(dir.path().join("a"), 0);
        addresses.next = 254;
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
