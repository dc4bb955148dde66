//! Three tiny programs that give a cgroup its own loopback address.
//!
//! * bind to `0.0.0.0` becomes bind to the pod's address,
//! * bind to `::` becomes bind to the same address in its IPv6 form,
//! * connect to 127.0.0.0/8 leaves from the pod's address, so that peers see who calls.
//!
//! The programs are attached to the pod's cgroup, work without the agent, and go away with the cgroup.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

/// One instruction of the kernel's virtual machine (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    /// Destination register in the low half, source register in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// What `BPF_PROG_LOAD` reads of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// What `BPF_PROG_ATTACH` reads of `union bpf_attr`.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// Where a program is attached.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Hook {
    Inet4Bind = 8,
    Inet6Bind = 9,
    Inet4Connect = 10,
}

/// Fields of the context, `struct bpf_sock_addr`.
const USER_IP4: i16 = 4;
const USER_IP6: [i16; 4] = [8, 12, 16, 20];

/// The helper `bpf_bind`.
const HELPER_BIND: i32 = 64;

/// Attaches the programs for `address` to a cgroup of the unified tree.
pub(crate) fn attach_address(cgroup: &std::path::Path, address: Ipv4Addr) -> io::Result<()> {
    let cgroup = std::fs::File::open(cgroup)?;
    attach(cgroup.as_fd(), Hook::Inet4Bind, &bind4(address))?;
    attach(cgroup.as_fd(), Hook::Inet6Bind, &bind6(address))?;
    attach(cgroup.as_fd(), Hook::Inet4Connect, &connect4(address))
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: (from << 4) | to, offset, immediate }
}

/// `to = *(u32 *)(from + offset)`
const fn load(to: u8, from: u8, offset: i16) -> Instruction {
    instruction(0x61, to, from, offset, 0)
}

/// `*(u32 *)(to + offset) = from`
const fn store(to: u8, offset: i16, from: u8) -> Instruction {
    instruction(0x63, to, from, offset, 0)
}

/// `to = immediate`, 32 bits.
const fn set(to: u8, immediate: i32) -> Instruction {
    instruction(0xb4, to, 0, 0, immediate)
}

/// `if to != immediate`, skip that many instructions.
const fn skip_unless(to: u8, immediate: i32, skip: i16) -> Instruction {
    instruction(0x55, to, 0, skip, immediate)
}

/// `return 1`: let the call go on.
const ALLOW: [Instruction; 2] = [instruction(0xb7, 0, 0, 0, 1), instruction(0x95, 0, 0, 0, 0)];

/// The address as the context has it: network byte order in memory.
const fn word(address: Ipv4Addr) -> i32 {
    i32::from_ne_bytes(address.octets())
}

fn bind4(address: Ipv4Addr) -> Vec<Instruction> {
    let mut program = vec![
        load(2, 1, USER_IP4),
        skip_unless(2, 0, 2),
        set(2, word(address)),
        store(1, USER_IP4, 2),
    ];
    program.extend(ALLOW);
    program
}

fn bind6(address: Ipv4Addr) -> Vec<Instruction> {
    let [a, b, c, d] = USER_IP6;
    let mut program = Vec::new();
    // Four words to test (two instructions each), then the two that are not zero in `::ffff:a.b.c.d`.
    for (field, skip) in [(a, 10), (b, 8), (c, 6), (d, 4)] {
        program.extend([load(2, 1, field), skip_unless(2, 0, skip)]);
    }
    program.extend([
        set(2, i32::from_ne_bytes([0, 0, 0xff, 0xff])),
        store(1, c, 2),
        set(2, word(address)),
        store(1, d, 2),
    ]);
    program.extend(ALLOW);
    program
}

fn connect4(address: Ipv4Addr) -> Vec<Instruction> {
    /// The frame pointer.
    const STACK: u8 = 10;
    /// `libc::AF_INET` with the type it has in an address.
    const AF_INET: u16 = 2;
    let family = i32::from_ne_bytes({
        // `struct sockaddr_in` begins with the family (16 bits, host order) and port 0.
        let [low, high] = AF_INET.to_ne_bytes();
        [low, high, 0, 0]
    });
    let mut program = vec![
        load(2, 1, USER_IP4),
        // The first byte of the address: `and` with its mask, then compare.
        instruction(0x54, 2, 0, 0, i32::from_ne_bytes([0xff, 0, 0, 0])),
        skip_unless(2, i32::from_ne_bytes([127, 0, 0, 0]), 11),
        set(2, family),
        store(STACK, -16, 2),
        set(2, word(address)),
        store(STACK, -12, 2),
        set(2, 0),
        store(STACK, -8, 2),
        store(STACK, -4, 2),
        // bpf_bind(context, stack - 16, 16); its result does not matter: a bound socket stays as it is.
        instruction(0xbf, 2, STACK, 0, 0),
        instruction(0x07, 2, 0, 0, -16),
        set(3, 16),
        instruction(0x85, 0, 0, 0, HELPER_BIND),
    ];
    program.extend(ALLOW);
    program
}

fn attach(cgroup: BorrowedFd<'_>, hook: Hook, program: &[Instruction]) -> io::Result<()> {
    let program = load_program(hook, program)?;
    let attributes = AttachAttributes {
        target_fd: descriptor(cgroup.as_raw_fd()),
        attach_bpf_fd: descriptor(program.as_raw_fd()),
        attach_type: hook as u32,
        attach_flags: BPF_F_ALLOW_MULTI,
        replace_bpf_fd: 0,
    };
    // SAFETY: the attributes are plain numbers that live until the call returns; the kernel reads
    // `size_of` bytes of them and keeps no pointer.
    unsafe { bpf(BPF_PROG_ATTACH, &attributes) }?;
    Ok(())
}

fn load_program(hook: Hook, program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attributes = LoadAttributes {
        prog_type: BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name: *b"mxjob_address\0\0\0",
        expected_attach_type: hook as u32,
        ..LoadAttributes::default()
    };
    // SAFETY: `insns` points to `insn_cnt` instructions and `license` to a C string, both alive until the call
    // returns; the kernel copies them. No log buffer is given. A non-negative result is a new descriptor
    // that nobody else owns.
    unsafe {
        let fd = bpf(BPF_PROG_LOAD, &attributes)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

const fn descriptor(fd: RawFd) -> u32 {
    fd.unsigned_abs()
}

/// # Safety
/// `attributes` must be laid out as the kernel's `union bpf_attr` for `command`, and every pointer in it valid.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: by this function's contract.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}
