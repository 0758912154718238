//! Questions for users and groups on the wire.

use crate::peer_capnp::{user_answer, user_query};
use crate::{Fault, WireError, checked};
use capnp::text;
use termite_types::{Group, User, UserAnswer, UserQuery};

type Result<T> = std::result::Result<T, WireError>;

/// Reads a question.
pub fn read_user_query(from: user_query::Reader<'_>) -> Result<UserQuery> {
    Ok(match from.which()? {
        user_query::UserNamed(name) => UserQuery::UserNamed(string(name?)?),
        user_query::UserNumbered(uid) => UserQuery::UserNumbered(uid),
        user_query::GroupNamed(name) => UserQuery::GroupNamed(string(name?)?),
        user_query::GroupNumbered(gid) => UserQuery::GroupNumbered(gid),
        user_query::GroupsOf(name) => UserQuery::GroupsOf(string(name?)?),
    })
}

/// Writes a question.
pub fn write_user_query(query: &UserQuery, mut to: user_query::Builder<'_>) {
    match query {
        UserQuery::UserNamed(name) => to.set_user_named(name),
        UserQuery::UserNumbered(uid) => to.set_user_numbered(*uid),
        UserQuery::GroupNamed(name) => to.set_group_named(name),
        UserQuery::GroupNumbered(gid) => to.set_group_numbered(*gid),
        UserQuery::GroupsOf(name) => to.set_groups_of(name),
    }
}

/// Reads an answer.
pub fn read_user_answer(from: user_answer::Reader<'_>) -> Result<UserAnswer> {
    Ok(match from.which()? {
        user_answer::InFiles(()) => UserAnswer::InFiles,
        user_answer::Nobody(()) => UserAnswer::Nobody,
        user_answer::User(user) => UserAnswer::User(User {
            name: string(user.get_name()?)?,
            uid: user.get_uid(),
            gid: user.get_gid(),
            comment: string(user.get_comment()?)?,
            home: string(user.get_home()?)?,
            shell: string(user.get_shell()?)?,
        }),
        user_answer::Group(group) => UserAnswer::Group(Group {
            name: string(group.get_name()?)?,
            gid: group.get_gid(),
            members: group
                .get_members()?
                .iter()
                .map(|name| string(name?))
                .collect::<Result<_>>()?,
        }),
        user_answer::Groups(gids) => UserAnswer::Groups(gids?.iter().collect()),
    })
}

/// Writes an answer.
pub fn write_user_answer(answer: &UserAnswer, mut to: user_answer::Builder<'_>) {
    match answer {
        UserAnswer::InFiles => to.set_in_files(()),
        UserAnswer::Nobody => to.set_nobody(()),
        UserAnswer::User(user) => {
            let mut to = to.init_user();
            to.set_name(&user.name);
            to.set_uid(user.uid);
            to.set_gid(user.gid);
            to.set_comment(&user.comment);
            to.set_home(&user.home);
            to.set_shell(&user.shell);
        }
        UserAnswer::Group(group) => {
            let mut to = to.init_group();
            to.set_name(&group.name);
            to.set_gid(group.gid);
            let mut members = to.init_members(checked::count(&group.members));
            for (at, member) in (0..).zip(&group.members) {
                members.set(at, member);
            }
        }
        UserAnswer::Groups(gids) => {
            checked::write_numbers(gids, to.init_groups(checked::count(gids)));
        }
    }
}

/// A name or a field of a row, which C programs get.
fn string(from: text::Reader<'_>) -> Result<String> {
    const FIELD: &str = "field of a user or group";
    let text = checked::text(FIELD, from)?;
    checked::require(!text.contains('\0'), FIELD, Fault::Nul)?;
    Ok(text)
}
