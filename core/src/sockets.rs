//! The kernel's tables of sockets, `/proc/net/tcp` and `/proc/net/tcp6` (proc_pid_net(5)), read
//! from their text. Reads no file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// State of a socket that listens (`TCP_LISTEN`, include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// The local addresses of all sockets in a table that listen.
pub fn listening(table: &str) -> impl Iterator<Item = SocketAddr> {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (words.next()?, words.next()?, words.next()?);
        (state == LISTEN).then(|| address(local)).flatten()
    })
}

/// An address: words of four bytes in the order of the machine, in hexadecimal, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match (<[u8; 4]>::try_from(&bytes[..]), <[u8; 16]>::try_from(&bytes[..])) {
        (Ok(four), _) => IpAddr::V4(Ipv4Addr::from(four)),
        (_, Ok(sixteen)) => IpAddr::V6(Ipv6Addr::from(sixteen)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::listening;

    #[test]
    fn sockets_that_listen_are_found_in_a_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n\
            \x20  1: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0\n\
            \x20  2: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0\n\
            \x20  3: zz:1 0:0 0A\n";
        let found: Vec<_> = listening(table).map(|address| address.to_string()).collect();
        assert_eq!(found, ["127.0.0.1:8080", "[::1]:80"]);
    }
}
