//! Users and groups that the client's name services know and its files do not: what the C library of
//! a job finds.

use super::bench::with_client;
use crate::slot::SlotStatus;
use crate::slot::tests::bed::this;
use crate::view::{Files, FilesError, LocalFiles, OpenedFile, Pieces};
use std::path::Path;
use std::sync::Arc;
use termite_types::{BlobHash, Group, Listing, Resource, User, UserAnswer, UserQuery};

/// A client that asks a service, which knows one user.
struct Client(Arc<LocalFiles>);

impl Files for Client {
    fn read_dir(&self, path: &Path) -> Result<Listing, FilesError> {
        self.0.read_dir(path)
    }

    fn open(&self, path: &Path) -> Result<OpenedFile, FilesError> {
        self.0.open(path)
    }

    fn read(&self, hash: &BlobHash, from: u64, until: u64) -> Pieces<'_> {
        self.0.read(hash, from, until)
    }

    fn machine_has(&self, resource: &Resource) -> Result<bool, FilesError> {
        Ok(*resource == Resource::NameServices)
    }

    fn find_user(&self, query: &UserQuery) -> Result<UserAnswer, FilesError> {
        let user = || {
            UserAnswer::User(User {
                name: "termite-guest".into(),
                uid: 4242,
                gid: 4243,
                comment: "Guest".into(),
                home: "/home/guest".into(),
                shell: "/bin/sh".into(),
            })
        };
        let group = |name: &str, gid| {
            let members = vec!["one".into(), "two".into()];
            let name = name.into();
            UserAnswer::Group(Group { name, gid, members })
        };
        Ok(match query {
            UserQuery::UserNamed(name) if name == "termite-guest" => user(),
            UserQuery::UserNumbered(4242) => user(),
            UserQuery::GroupNamed(name) if name == "guests" => group("guests", 4243),
            UserQuery::GroupNumbered(4243) => group("guests", 4243),
            UserQuery::GroupNumbered(4244) => group("others", 4244),
            UserQuery::GroupsOf(name) if name == "termite-guest" => UserAnswer::Groups(vec![4243, 4244]),
            UserQuery::UserNamed(name) if name == "root" => UserAnswer::InFiles,
            _ => UserAnswer::Nobody,
        })
    }
}

#[test]
fn users_and_groups_of_name_services_are_found() {
    with_client(this!(users_and_groups_of_name_services_are_found), |bench| {
        let mirror = bench.mirror_of(Arc::new(Client(bench.files.clone())));
        let script = "getent passwd termite-guest 4242; getent group guests 4244; id termite-guest; \
                      getent passwd root | cut -d: -f3; getent passwd termite-nobody || echo none";
        let ran = bench.run(&mirror, bench.script(Path::new("/"), script));
        assert_eq!(ran.end.status, SlotStatus::Exited(0), "{}", ran.output);
        let row = "termite-guest:x:4242:4243:Guest:/home/guest:/bin/sh\n";
        let expected = format!(
            "{row}{row}guests:x:4243:one,two\nothers:x:4244:one,two\n\
             uid=4242(termite-guest) gid=4243(guests) groups=4243(guests),4244(others)\n0\nnone\n"
        );
        assert_eq!(ran.output, expected);
    });
}
