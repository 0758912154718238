//! What a view must know of ELF programs (System V ABI, chapters 4 and 5): who loads
//! them, and whether they bear a preloaded library. Little-endian, both classes. Knows
//! the file format alone; what is not as expected counts as an ordinary static program.

use rustix::fd::OwnedFd;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
/// Bytes of a dynamic section that are looked at: far more than any linker writes before
/// the entries that matter.
const DYNAMIC_MAX: u64 = 4096;
/// Program headers that are looked at.
const HEADERS_MAX: usize = 64;

/// An open program.
pub(super) struct Elf<'f> {
    file: &'f OwnedFd,
    wide: bool,
    segments: Vec<Segment>,
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

impl<'f> Elf<'f> {
    /// Reads the headers. `None`: it is no ELF file.
    pub(super) fn read(file: &'f OwnedFd) -> Option<Self> {
        let head = bytes_at(file, 0, 64)?;
        let wide = match head.strip_prefix(b"\x7fELF")?.first()? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let (table, sizes) = if wide {
            (word(&head, 32, true)?, 54)
        } else {
            (word(&head, 28, false)?, 42)
        };
        let (size, count) = (half(&head, sizes)?, half(&head, sizes + 2)?.min(HEADERS_MAX));
        let rows = bytes_at(file, table, size * count)?;
        let segments = rows
            .chunks_exact(size.max(1))
            .filter_map(|row| Segment::read(row, wide))
            .collect();
        Some(Self { file, wide, segments })
    }

    /// The loader that the kernel opens.
    pub(super) fn interpreter(&self) -> Option<Vec<u8>> {
        let segment = self.segment(PT_INTERP)?;
        let size = usize::try_from(segment.size)
            .ok()
            .filter(|size| *size <= libc::PATH_MAX as usize)?;
        let path = bytes_at(self.file, segment.offset, size)?;
        path.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
    }

    /// The runtime of AddressSanitizer ends a program in which it is not the first library
    /// of all.
    pub(super) fn refuses_preload(&self) -> bool {
        let first = self.first_library().unwrap_or_default();
        first.starts_with(b"libasan.so") || first.starts_with(b"libclang_rt.asan")
    }

    fn first_library(&self) -> Option<Vec<u8>> {
        let dynamic = self.segment(PT_DYNAMIC)?;
        let entries = bytes_at(self.file, dynamic.offset, dynamic.size.min(DYNAMIC_MAX) as usize)?;
        let width = if self.wide { 8 } else { 4 };
        let find = |tag| {
            let mut rows = entries.chunks_exact(2 * width);
            let row =
                rows.find(|row| matches!(word(row, 0, self.wide), Some(found) if found == tag || found == DT_NULL))?;
            (word(row, 0, self.wide)? == tag)
                .then(|| word(row, width, self.wide))
                .flatten()
        };
        let (name, strings) = (find(DT_NEEDED)?, find(DT_STRTAB)?);
        let holds =
            |segment: &&Segment| segment.kind == PT_LOAD && strings.wrapping_sub(segment.address) < segment.size;
        let holder = self.segments.iter().find(holds)?;
        let at = strings
            .wrapping_sub(holder.address)
            .wrapping_add(holder.offset)
            .wrapping_add(name);
        let name = bytes_at(self.file, at, 40)?;
        name.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
    }

    fn segment(&self, kind: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.kind == kind)
    }
}

impl Segment {
    fn read(row: &[u8], wide: bool) -> Option<Self> {
        let [offset, address, size] = if wide { [8, 16, 32] } else { [4, 8, 16] };
        Some(Self {
            kind: word(row, 0, false)?,
            offset: word(row, offset, wide)?,
            address: word(row, address, wide)?,
            size: word(row, size, wide)?,
        })
    }
}

/// As many of `len` bytes as the file has there.
fn bytes_at(file: &OwnedFd, offset: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    let read = rustix::io::pread(file, &mut bytes, offset).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

fn word(bytes: &[u8], at: usize, wide: bool) -> Option<u64> {
    Some(if wide {
        u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)
    } else {
        u64::from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
    })
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn finds_the_loader_of_this_program() {
        let own = std::fs::File::open("/proc/self/exe").unwrap().into();
        let elf = Elf::read(&own).expect("a test binary is an ELF program");
        assert!(String::from_utf8(elf.interpreter().unwrap()).unwrap().contains("/ld-"));
        assert!(!elf.refuses_preload());
        assert!(elf.first_library().unwrap().starts_with(b"lib"));
        let text = std::fs::File::open("/proc/self/status").unwrap().into();
        assert!(Elf::read(&text).is_none());
    }

    #[test]
    fn knows_a_program_that_refuses_preloading() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("p");
        std::fs::write(dir.path().join("p.c"), "int main(void) { return 0; }").unwrap();
        let gcc = Command::new("gcc")
            .args(["-fsanitize=address", "-o", "p", "p.c"])
            .current_dir(dir.path())
            .output();
        // A host whose compiler lacks the sanitizer has no such programs.
        if gcc.is_ok_and(|output| output.status.success()) {
            let file = std::fs::File::open(program).unwrap().into();
            assert!(Elf::read(&file).unwrap().refuses_preload());
        }
    }
}
