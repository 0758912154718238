//! Users and groups, as this machine's name services know them (nsswitch.conf(5)). A job looks
//! in the client's files by itself; services that listen on this machine (sssd, systemd, LDAP)
//! it cannot ask. Knows nothing of who asks.

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::fs;
use termite_types::{self as types, UserAnswer, UserQuery};

/// The answer. May wait for a service.
pub(crate) fn answer(query: &UserQuery) -> UserAnswer {
    if !asks_services(&switch(), databases(query)) {
        return UserAnswer::InFiles;
    }
    // A service that fails knows nobody: what the files have, the job sees.
    found(query).unwrap_or(UserAnswer::InFiles)
}

/// Whether something else than files is asked for users or groups.
pub(crate) fn are_asked_for() -> bool {
    asks_services(&switch(), &["initgroups", "group", "passwd"])
}

fn switch() -> String {
    fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default()
}

fn databases(query: &UserQuery) -> &'static [&'static str] {
    match query {
        UserQuery::UserNamed(_) | UserQuery::UserNumbered(_) => &["passwd"],
        UserQuery::GroupNamed(_) | UserQuery::GroupNumbered(_) => &["group"],
        UserQuery::GroupsOf(_) => &["initgroups", "group", "passwd"],
    }
}

/// Without a line files alone are asked.
fn asks_services(switch: &str, databases: &[&str]) -> bool {
    let lines = switch
        .lines()
        .filter_map(|line| line.split('#').next()?.split_once(':'));
    let mut services = lines.filter(|(database, _)| databases.contains(&database.trim()));
    services.any(|(_, services)| services.split_ascii_whitespace().any(is_service))
}

/// Sources other than files, and no reactions to those (`[NOTFOUND=return]`).
fn is_service(source: &str) -> bool {
    !["files", "compat"].contains(&source) && !source.contains(['[', ']', '='])
}

fn found(query: &UserQuery) -> nix::Result<UserAnswer> {
    let user = |user: Option<User>| user.map_or(UserAnswer::Nobody, |user| UserAnswer::User(row_of_user(user)));
    let group = |group: Option<Group>| group.map_or(UserAnswer::Nobody, |group| UserAnswer::Group(row_of_group(group)));
    Ok(match query {
        UserQuery::UserNamed(name) => user(User::from_name(name)?),
        UserQuery::UserNumbered(uid) => user(User::from_uid(Uid::from_raw(*uid))?),
        UserQuery::GroupNamed(name) => group(Group::from_name(name)?),
        UserQuery::GroupNumbered(gid) => group(Group::from_gid(Gid::from_raw(*gid))?),
        UserQuery::GroupsOf(name) => match User::from_name(name)? {
            None => UserAnswer::Nobody,
            Some(user) => {
                let name = CString::new(user.name).unwrap_or_default();
                let groups = getgrouplist(&name, user.gid)?;
                UserAnswer::Groups(groups.into_iter().map(Gid::as_raw).collect())
            }
        },
    })
}

fn row_of_user(user: User) -> types::User {
    types::User {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        comment: user.gecos.to_string_lossy().into_owned(),
        home: user.dir.to_string_lossy().into_owned(),
        shell: user.shell.to_string_lossy().into_owned(),
    }
}

fn row_of_group(group: Group) -> types::Group {
    types::Group {
        name: group.name,
        gid: group.gid.as_raw(),
        members: group.mem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_alone_are_no_service() {
        let user = UserQuery::UserNumbered(7);
        let groups = UserQuery::GroupsOf("u".into());
        for (switch, of_users, of_groups) in [
            ("", false, false),
            ("passwd: files\ngroup: compat\n", false, false),
            ("passwd:\tfiles # sss\nhosts: files dns\n", false, false),
            ("passwd: files [NOTFOUND=return] sss\n", true, true),
            ("group: files [!SUCCESS=continue]\n", false, false),
            ("group: files systemd\n", false, true),
            (" passwd : files ldap", true, true),
        ] {
            assert_eq!(asks_services(switch, databases(&user)), of_users, "{switch:?}");
            assert_eq!(asks_services(switch, databases(&groups)), of_groups, "{switch:?}");
        }
    }

    #[test]
    fn root_is_found_and_nobody_is_not() {
        let root = UserQuery::UserNumbered(0);
        let UserAnswer::User(user) = found(&root).unwrap() else {
            panic!("there is no root");
        };
        assert_eq!((user.name.as_str(), user.gid), ("root", 0));
        assert_eq!(found(&UserQuery::GroupNumbered(u32::MAX - 7)), Ok(UserAnswer::Nobody));
        assert_eq!(
            found(&UserQuery::GroupsOf("termite: nobody".into())),
            Ok(UserAnswer::Nobody)
        );
        let UserAnswer::Groups(groups) = found(&UserQuery::GroupsOf("root".into())).unwrap() else {
            panic!("root is in no group");
        };
        assert!(groups.contains(&0));
    }
}
