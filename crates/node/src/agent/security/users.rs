//! The machine's user database, as far as it is in files.

use std::path::Path;

/// Users and groups of `/etc/passwd` and `/etc/group`.
#[derive(Debug, Default)]
pub(super) struct Users {
    /// Name, user and primary group.
    users: Vec<(String, u32, u32)>,
    /// Group and the names of its members.
    groups: Vec<(u32, Vec<String>)>,
}

impl Users {
    /// A file that cannot be read has no entries, and so has a line that is not valid.
    pub(super) fn read(passwd: &Path, group: &Path) -> Self {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&text(passwd), &text(group))
    }

    pub(super) fn parse(passwd: &str, group: &str) -> Self {
        let users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        let groups = group.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let id = fields.next()?.parse().ok()?;
            Some((id, fields.next()?.split(',').map(str::to_owned).collect()))
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    /// The primary group of a user.
    pub(super) fn group_of(&self, user: u32) -> Option<u32> {
        self.users.iter().find(|(_, id, _)| *id == user).map(|(_, _, group)| *group)
    }

    /// The groups that name a user as a member.
    pub(super) fn groups_of(&self, user: u32) -> Vec<u32> {
        let Some((name, ..)) = self.users.iter().find(|(_, id, _)| *id == user) else {
            return Vec::new();
        };
        let groups = self.groups.iter().filter(|(_, members)| members.contains(name));
        groups.map(|(group, _)| *group).collect()
    }
}
