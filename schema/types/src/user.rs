//! Questions for users and groups, and what the client's machine answers: getpwnam(3),
//! getgrnam(3), getgrouplist(3) and their kin.

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserQuery {
    /// For the user of this name.
    UserNamed(String),
    /// For the user with this number.
    UserNumbered(u32),
    /// For the group of this name.
    GroupNamed(String),
    /// For the group with this number.
    GroupNumbered(u32),
    /// For the numbers of the groups that this user is in.
    GroupsOf(String),
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserAnswer {
    /// The machine looks in files alone (nsswitch.conf(5)), which a job has as well.
    InFiles,
    /// There is none.
    Nobody,
    /// A user.
    User(User),
    /// A group.
    Group(Group),
    /// The numbers of groups.
    Groups(Vec<u32>),
}

/// A row of passwd(5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of its first group.
    pub gid: u32,
    /// Its name in full, and more.
    pub comment: String,
    /// Home directory.
    pub home: String,
    /// Shell.
    pub shell: String,
}

/// A row of group(5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Number.
    pub gid: u32,
    /// Names of users that are in it and have another first one.
    pub members: Vec<String>,
}
