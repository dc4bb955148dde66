//! Bearer tokens: the token file, and the admin token of a new data directory.
//!
//! Only SHA-256 digests are kept, and look-ups are by digest. So the time of a comparison reveals
//! nothing about a token, and dumps of memory or debug output do not contain one.

pub mod file;
pub mod jwt;
pub mod service_account;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use aws_lc_rs::digest::{SHA256, digest};

use crate::identity::Identity;

pub use crate::tokens::file::Problem;
pub use crate::tokens::jwt::SigningKey;
pub use crate::tokens::service_account::ServiceAccounts;

/// The admin token's file in the data directory.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";
/// 256 bits cannot be guessed at any request rate.
const ADMIN_TOKEN_BYTES: usize = 32;

/// Known tokens and their owners.
#[derive(Default)]
pub struct Tokens {
    by_digest: HashMap<[u8; 32], Identity>,
}

/// A token in clear text. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why tokens cannot be loaded or created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token file cannot be read.
    #[error("cannot read the token file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token file has an invalid line; the whole file is rejected.
    #[error("token file {}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with the line.
        problem: Problem,
    },
    /// The admin token cannot be read or written.
    #[error("cannot read or write the admin token in {}", path.display())]
    Admin {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The admin token's file has other content.
    #[error("{} does not hold an admin token (64 hexadecimal digits); remove it and restart to create a new one", path.display())]
    NotAToken {
        /// The file.
        path: PathBuf,
    },
    /// The operating system provides no random bytes.
    #[error("cannot create an admin token: the system provides no random bytes")]
    Random,
}

// === impl Tokens ===

impl Tokens {
    /// Reads a token file (`--token-file`): lines `token,user,uid,"group1,group2"`, as upstream
    /// reads them.
    ///
    /// # Errors
    /// If the file cannot be read or has an invalid line; then no token is accepted.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|(line, problem)| Error::Line {
            path: path.to_owned(),
            line,
            problem,
        })
    }

    /// Parses a token file's text.
    ///
    /// # Errors
    /// The number of the first invalid line, from 1, and its problem.
    pub fn parse(text: &str) -> Result<Self, (usize, Problem)> {
        let mut tokens = Self::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let Some(record) = file::record(line).map_err(|problem| (number, problem))? else {
                continue;
            };
            if !tokens
                .insert(&record.token, Identity::new(&record.user, &record.uid, record.groups))
            {
                return Err((number, Problem::Duplicate));
            }
        }
        Ok(tokens)
    }

    /// Adds a token; false (and no change) if it already exists.
    pub fn insert(&mut self, token: &str, identity: Identity) -> bool {
        use std::collections::hash_map::Entry;
        match self.by_digest.entry(sha256(token.as_bytes())) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(identity);
                true
            }
        }
    }

    /// The owner of a token.
    #[must_use]
    pub fn find(&self, token: &[u8]) -> Option<&Identity> {
        self.by_digest.get(&sha256(token))
    }

    /// The number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("count", &self.len()).finish_non_exhaustive()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

// === impl Token ===

impl Token {
    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The admin token of a data directory: read, or created at the first start (random, mode 0600).
///
/// # Errors
/// If the file cannot be read or written, or has other content.
pub fn admin(data_dir: &Path) -> Result<Token, Error> {
    let path = data_dir.join(ADMIN_TOKEN_FILE);
    let failed = |source| Error::Admin { path: path.clone(), source };
    if let Some(text) = mxjob_files::read(&path).map_err(failed)? {
        let token = text.trim();
        let right = token.len() == 2 * ADMIN_TOKEN_BYTES
            && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        return if right { Ok(Token(token.to_owned())) } else { Err(Error::NotAToken { path }) };
    }
    let mut random = [0; ADMIN_TOKEN_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::Random)?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    mxjob_files::write(&path, format!("{token}\n").as_bytes()).map_err(failed)?;
    Ok(Token(token))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn token_file_gives_users_and_groups() {
        let tokens = Tokens::parse(
            "t1,ann,1\r\n\n  \nt2,bob,2,dev\nt3,\"cy \"\"c\"\"\",,\"dev,ops\"\nt4,di,4,\n",
        )
        .unwrap();
        let check = |token: &str, user: &str, uid: &str, groups: &[&str]| {
            let identity = tokens.find(token.as_bytes()).unwrap();
            assert_eq!((&*identity.name, &*identity.uid), (user, uid), "{token}");
            assert_eq!(*identity.groups, *[groups, &["system:authenticated"]].concat(), "{token}");
        };
        check("t1", "ann", "1", &[]);
        check("t2", "bob", "2", &["dev"]);
        check("t3", "cy \"c\"", "", &["dev", "ops"]);
        check("t4", "di", "4", &[]);
        assert_eq!((tokens.len(), tokens.find(b"t5")), (4, None));
        assert!(Tokens::parse("").unwrap().is_empty());
    }

    #[test]
    fn invalid_line_is_reported_and_the_whole_file_rejected() {
        let check = |text: &str, line: usize, problem: Problem| {
            assert_eq!(Tokens::parse(text).err(), Some((line, problem)), "{text:?}");
        };
        check("t,ann,1\nt2,bob\n", 2, Problem::Columns(2));
        check("# tokens\n", 1, Problem::Columns(1));
        check("t,ann,1,a,b\n", 1, Problem::Columns(5));
        check("\n,ann,1\n", 2, Problem::NoToken);
        check("t,,1\n", 1, Problem::NoUser);
        check("t t,ann,1\n", 1, Problem::Unsendable);
        check("té,ann,1\n", 1, Problem::Unsendable);
        check("t,ann,1,\"dev\n", 1, Problem::OpenQuote);
        check("t,ann,1, \"dev\"\n", 1, Problem::StrayQuote);
        check("t,ann,1,\"dev\"x\n", 1, Problem::StrayQuote);
        check("t,ann,1,\"dev,,ops\"\n", 1, Problem::EmptyGroup);
        check("t,ann,1\nu,bob,2\nt,cy,3\n", 3, Problem::Duplicate);
    }

    #[test]
    fn an_error_names_the_file_and_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.csv");
        std::fs::write(&path, "t,ann\n").unwrap();
        let message = Tokens::load(&path).unwrap_err().to_string();
        assert!(
            message.ends_with(
                "tokens.csv, line 1: 2 columns; expected token,user,uid and optional groups"
            ),
            "{message}"
        );
        let message = Tokens::load(&dir.path().join("nope")).unwrap_err().to_string();
        assert!(message.starts_with("cannot read the token file "), "{message}");
    }

    #[test]
    fn admin_token_is_created_once_and_readable_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let token = admin(dir.path()).unwrap();
        assert_eq!(admin(dir.path()).unwrap(), token);
        assert_eq!(token.expose().len(), 64);
        let path = dir.path().join(ADMIN_TOKEN_FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(format!("{token:?}"), "Token(…)");

        std::fs::write(&path, "hello").unwrap();
        assert!(matches!(admin(dir.path()), Err(Error::NotAToken { .. })));
        assert!(matches!(admin(&dir.path().join("nope")), Err(Error::Admin { .. })));
    }
}
