//! Which ELF programs cannot have this library preloaded: those of 32 bits, whose
//! loader complains, and those instrumented by AddressSanitizer, whose runtime ends
//! the program unless it is the first library of all.
//!
//! Knows the file format only as far as the name of the first needed library (System
//! V ABI, chapters 4 and 5); what is not as expected counts as an ordinary program.

use crate::sys;
use core::ffi::c_int;

const ELFCLASS32: u8 = 1;
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;

/// Program headers looked at, and dynamic entries: far more than any linker writes
/// before the ones that matter.
const HEADERS: usize = 24 * HEADER;
const HEADER: usize = 56;
const ENTRIES: usize = 64 * ENTRY;
const ENTRY: usize = 16;

/// Whether an open ELF file is such a program.
pub(crate) fn refuses_preload(fd: c_int) -> bool {
    let (head, _) = sys::pread::<64>(fd, 0);
    head.get(4) == Some(&ELFCLASS32) || first_library_is_asan(fd, &head).unwrap_or(false)
}

/// Whether the first library that an ELF file needs is that of the address sanitizer, which wants to be the
/// first one of the process.
fn first_library_is_asan(fd: c_int, head: &[u8]) -> Option<bool> {
    let (headers, len) = sys::pread::<HEADERS>(fd, word(head, 32)?);
    let count = usize::from(half(head, 56)?).min(len / HEADER);
    let headers = headers.get(..count * HEADER)?;
    let segments = || headers.chunks_exact(HEADER).filter_map(Segment::read);
    let dynamic = segments().find(|segment| segment.kind == PT_DYNAMIC)?;
    let (entries, len) = sys::pread::<ENTRIES>(fd, dynamic.offset);
    let entries = entries.get(..len.min(dynamic.size as usize))?;
    let find = |tag| {
        let mut tags = entries
            .chunks_exact(ENTRY)
            .map(|entry| (word(entry, 0), word(entry, 8)));
        tags.find(|(found, _)| matches!(found, Some(found) if *found == tag || *found == DT_NULL))
            .filter(|(found, _)| *found == Some(tag))?
            .1
    };
    let (name, strings) = (find(DT_NEEDED)?, find(DT_STRTAB)?);
    let holder = segments()
        .filter(|segment| segment.kind == PT_LOAD)
        .find(|segment| strings.wrapping_sub(segment.address) < segment.size)?;
    let at = strings
        .wrapping_sub(holder.address)
        .wrapping_add(holder.offset)
        .wrapping_add(name);
    let (name, _) = sys::pread::<40>(fd, at);
    let name = name.split(|&byte| byte == 0).next()?;
    Some(name.starts_with(b"libasan.so") || name.starts_with(b"libclang_rt.asan"))
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

impl Segment {
    fn read(header: &[u8]) -> Option<Self> {
        let kind = word(header, 0)? & 0xffff_ffff;
        Some(Self {
            kind,
            offset: word(header, 8)?,
            address: word(header, 16)?,
            size: word(header, 32)?,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
