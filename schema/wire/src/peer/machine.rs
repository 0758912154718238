//! What a worker asks of the client's machine, on the wire.

use crate::peer_capnp::{self, resource};
use crate::{Fault, WireError, checked};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use termite_types::{ObjectKind, ObjectName, Resource};

/// Most bytes of an abstract name: `sun_path` of unix(7) without its first byte.
const ABSTRACT_MAX: usize = 107;

/// Reads what is asked for.
pub fn read_resource(from: resource::Reader<'_>) -> Result<Resource, WireError> {
    Ok(match from.which()? {
        resource::Process(number) => Resource::Process(number),
        resource::Target(number) => Resource::Target(number),
        resource::Service(service) => {
            let ip = service.get_ip()?;
            let ip = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
                (Ok(four), _) => IpAddr::V4(Ipv4Addr::from(four)),
                (_, Ok(sixteen)) => IpAddr::V6(Ipv6Addr::from(sixteen)),
                _ => return Err(WireError::bad("IP address", Fault::Range(ip.len() as u64))),
            };
            Resource::Service(SocketAddr::new(ip, service.get_port()))
        }
        resource::Socket(path) => Resource::Socket(checked::plain_path("path of a socket", path?)?),
        resource::Name(path) => Resource::Name(checked::plain_path("path", path?)?),
        resource::AbstractSocket(name) => {
            let name = name?;
            let is_short = name.len() <= ABSTRACT_MAX;
            checked::require(is_short, "abstract name", Fault::Range(name.len() as u64))?;
            Resource::AbstractSocket(name.to_vec())
        }
        resource::Object(object) => {
            let kind = match object.get_kind()? {
                peer_capnp::ObjectKind::Memory => ObjectKind::Memory,
                peer_capnp::ObjectKind::Semaphores => ObjectKind::Semaphores,
                peer_capnp::ObjectKind::Queue => ObjectKind::Queue,
            };
            let name = match object.which()? {
                resource::object::Key(key) => ObjectName::Key(key),
                resource::object::Id(id) => ObjectName::Id(id),
                resource::object::Any(()) => ObjectName::Any,
            };
            Resource::Object(kind, name)
        }
        resource::NameServices(()) => Resource::NameServices,
        resource::Writable(path) => Resource::Writable(checked::plain_path("path", path?)?),
    })
}

/// Writes what is asked for.
pub fn write_resource(resource: &Resource, mut to: resource::Builder<'_>) {
    match resource {
        Resource::Process(number) => to.set_process(*number),
        Resource::Target(number) => to.set_target(*number),
        Resource::Service(address) => {
            let mut to = to.init_service();
            match address.ip() {
                IpAddr::V4(ip) => to.set_ip(&ip.octets()),
                IpAddr::V6(ip) => to.set_ip(&ip.octets()),
            }
            to.set_port(address.port());
        }
        Resource::Socket(path) => to.set_socket(checked::bytes(path)),
        Resource::Name(path) => to.set_name(checked::bytes(path)),
        Resource::AbstractSocket(name) => to.set_abstract_socket(name),
        Resource::NameServices => to.set_name_services(()),
        Resource::Writable(path) => to.set_writable(checked::bytes(path)),
        Resource::Object(kind, name) => {
            let mut to = to.init_object();
            to.set_kind(match kind {
                ObjectKind::Memory => peer_capnp::ObjectKind::Memory,
                ObjectKind::Semaphores => peer_capnp::ObjectKind::Semaphores,
                ObjectKind::Queue => peer_capnp::ObjectKind::Queue,
            });
            match name {
                ObjectName::Key(key) => to.set_key(*key),
                ObjectName::Id(id) => to.set_id(*id),
                ObjectName::Any => to.set_any(()),
            }
        }
    }
}
