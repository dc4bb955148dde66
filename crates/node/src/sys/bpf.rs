//! Three small BPF programs that give a cgroup its own loopback address.
//!
//! * A bind to `0.0.0.0` becomes a bind to the pod's address.
//! * A bind to `::` becomes a bind to the same address in its IPv6 form.
//! * A connection to 127.0.0.0/8 has the pod's address as its source, so that peers can identify
//!   the pod. A connection to 127.0.0.1 reaches the pod's own listener, if there is one on that
//!   port.
//!
//! The programs are attached to the pod's cgroup, work without the agent, and are removed with the
//! cgroup.

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

/// The part of `union bpf_attr` for `BPF_PROG_LOAD`.
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

/// The part of `union bpf_attr` for `BPF_PROG_ATTACH`.
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
const USER_PORT: i16 = 24;
const SOCKET_TYPE: i16 = 32;

/// Values of [`SOCKET_TYPE`].
const SOCK_STREAM: i32 = 1;
const SOCK_DGRAM: i32 = 2;

/// Helper functions of the kernel.
const BPF_BIND: i32 = 64;
const BPF_SK_LOOKUP_TCP: i32 = 84;
const BPF_SK_RELEASE: i32 = 86;

/// The frame pointer.
const STACK: u8 = 10;

/// Attaches the programs for `address` to a cgroup of the unified tree.
pub(crate) fn attach_address(cgroup: &std::path::Path, address: Ipv4Addr) -> io::Result<()> {
    let cgroup = std::fs::File::open(cgroup)?;
    attach(cgroup.as_fd(), Hook::Inet4Bind, &assemble(&bind4(address)))?;
    attach(cgroup.as_fd(), Hook::Inet6Bind, &assemble(&bind6(address)))?;
    attach(cgroup.as_fd(), Hook::Inet4Connect, &assemble(&connect4(address)))
}

/// One line of a program. Every jump goes to the end, where the call is allowed.
#[derive(Clone, Copy)]
enum Line {
    Do(Instruction),
    /// Continue only if the register has this value.
    OnlyIf(u8, i32),
    /// Continue only if the register does not have this value.
    OnlyIfNot(u8, i32),
}

/// Computes the jump distances and appends `return 1`.
fn assemble(lines: &[Line]) -> Vec<Instruction> {
    let mut program: Vec<Instruction> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| {
            let to_end = i16::try_from(lines.len() - at - 1).unwrap_or_default();
            match *line {
                Line::Do(instruction) => instruction,
                Line::OnlyIf(register, value) => instruction(0x55, register, 0, to_end, value),
                Line::OnlyIfNot(register, value) => instruction(0x15, register, 0, to_end, value),
            }
        })
        .collect();
    program.extend([instruction(0xb7, 0, 0, 0, 1), instruction(0x95, 0, 0, 0, 0)]);
    program
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: (from << 4) | to, offset, immediate }
}

/// `to = *(u32 *)(from + offset)`
const fn load(to: u8, from: u8, offset: i16) -> Line {
    Line::Do(instruction(0x61, to, from, offset, 0))
}

/// `*(u32 *)(to + offset) = from`
const fn store(to: u8, offset: i16, from: u8) -> Line {
    Line::Do(instruction(0x63, to, from, offset, 0))
}

/// `*(u16 *)(to + offset) = from`
const fn store_half(to: u8, offset: i16, from: u8) -> Line {
    Line::Do(instruction(0x6b, to, from, offset, 0))
}

/// `to = immediate`, 32 bits, the rest zero.
const fn set(to: u8, immediate: i32) -> Line {
    Line::Do(instruction(0xb4, to, 0, 0, immediate))
}

/// `to = immediate`, sign-extended to 64 bits.
const fn set_wide(to: u8, immediate: i32) -> Line {
    Line::Do(instruction(0xb7, to, 0, 0, immediate))
}

/// `to = from`
const fn copy(to: u8, from: u8) -> Line {
    Line::Do(instruction(0xbf, to, from, 0, 0))
}

/// `to += immediate`
const fn add(to: u8, immediate: i32) -> Line {
    Line::Do(instruction(0x07, to, 0, 0, immediate))
}

/// `to &= immediate`, 32 bits.
const fn and(to: u8, immediate: i32) -> Line {
    Line::Do(instruction(0x54, to, 0, 0, immediate))
}

/// Calls a helper: arguments in registers 1 to 5, the result in 0.
const fn call(helper: i32) -> Line {
    Line::Do(instruction(0x85, 0, 0, 0, helper))
}

/// Four bytes in memory order, as in the context.
const fn word(bytes: [u8; 4]) -> i32 {
    i32::from_ne_bytes(bytes)
}

fn bind4(address: Ipv4Addr) -> Vec<Line> {
    vec![
        load(2, 1, USER_IP4),
        Line::OnlyIf(2, 0),
        // A datagram socket that is bound to any address and any port is a client, and may need to
        // reach other machines. Type and port (16 bits) are combined for one comparison.
        load(3, 1, SOCKET_TYPE),
        Line::Do(instruction(0x64, 3, 0, 0, 16)),
        load(4, 1, USER_PORT),
        Line::Do(instruction(0x4c, 3, 4, 0, 0)),
        Line::OnlyIfNot(3, SOCK_DGRAM << 16),
        set(2, word(address.octets())),
        store(1, USER_IP4, 2),
    ]
}

fn bind6(address: Ipv4Addr) -> Vec<Line> {
    let [a, b, c, d] = USER_IP6;
    let mut program = Vec::new();
    for field in [a, b, c, d] {
        program.extend([load(2, 1, field), Line::OnlyIf(2, 0)]);
    }
    program.extend([
        // `::ffff:a.b.c.d`
        set(2, word([0, 0, 0xff, 0xff])),
        store(1, c, 2),
        set(2, word(address.octets())),
        store(1, d, 2),
    ]);
    program
}

fn connect4(address: Ipv4Addr) -> Vec<Line> {
    /// `struct sockaddr_in` begins with the family (AF_INET, 16 bits) and the port.
    const FAMILY_AND_PORT_0: i32 = {
        let [low, high] = 2_u16.to_ne_bytes();
        word([low, high, 0, 0])
    };
    let (context, destination) = (6, 7);
    vec![
        copy(context, 1),
        load(destination, context, USER_IP4),
        copy(2, destination),
        and(2, word([0xff, 0, 0, 0])),
        Line::OnlyIf(2, word([127, 0, 0, 0])),
        // bpf_bind(context, {AF_INET, 0, address}, 16). Its result does not matter: a bound socket
        // stays as it is.
        set(2, FAMILY_AND_PORT_0),
        store(STACK, -16, 2),
        set(2, word(address.octets())),
        store(STACK, -12, 2),
        set(2, 0),
        store(STACK, -8, 2),
        store(STACK, -4, 2),
        copy(1, context),
        copy(2, STACK),
        add(2, -16),
        set(3, 16),
        call(BPF_BIND),
        // 127.0.0.1 means "this pod" if the pod listens on that port, else the machine.
        Line::OnlyIf(destination, word([127, 0, 0, 1])),
        load(2, context, SOCKET_TYPE),
        Line::OnlyIf(2, SOCK_STREAM),
        // bpf_sk_lookup_tcp(context, {from address:0 to address:port}, 12, this namespace, 0)
        set(2, word(address.octets())),
        store(STACK, -32, 2),
        store(STACK, -28, 2),
        set(2, 0),
        store(STACK, -24, 2),
        load(2, context, USER_PORT),
        store_half(STACK, -22, 2),
        copy(1, context),
        copy(2, STACK),
        add(2, -32),
        set(3, 12),
        set_wide(4, -1),
        set_wide(5, 0),
        call(BPF_SK_LOOKUP_TCP),
        Line::OnlyIfNot(0, 0),
        copy(1, 0),
        call(BPF_SK_RELEASE),
        set(2, word(address.octets())),
        store(context, USER_IP4, 2),
    ]
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
    // SAFETY: the attributes are plain numbers that exist until the call returns; the kernel reads
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
    // SAFETY: `insns` points to `insn_cnt` instructions and `license` to a C string, both alive
    // until the call returns; the kernel copies them. There is no log buffer. A non-negative result
    // is a new descriptor without an owner.
    unsafe {
        let fd = bpf(BPF_PROG_LOAD, &attributes)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

const fn descriptor(fd: RawFd) -> u32 {
    fd.unsigned_abs()
}

/// # Safety
/// `attributes` must be laid out as the kernel's `union bpf_attr` for `command`, and every pointer
/// in it valid.
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
