//! Accounts of brokers' clients, and the tokens that make them: rows and transactions. What a
//! password or a topic pattern is worth is judged above (`device/`); secrets arrive here hashed.

use super::{Micros, StoreError};
use async_trait::async_trait;

/// Handshakes kept for each account, the latest; older ones go when another is noted.
pub const KEPT_HANDSHAKES: i64 = 100;

/// Handshakes shown with an account.
pub(super) const SHOWN_HANDSHAKES: i64 = 10;

/// What a topic pattern allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// To send messages.
    Publish,
    /// To be sent messages.
    Subscribe,
}

impl Kind {
    /// As the column has it, and the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "pub",
            Self::Subscribe => "sub",
        }
    }
}

/// One thing that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What.
    pub kind: Kind,
    /// On which topics.
    pub pattern: String,
}

/// All that is allowed, each list in the order of its letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Topic patterns to send to.
    pub publish: Vec<String>,
    /// Topic patterns to be sent.
    pub subscribe: Vec<String>,
}

/// A row of `account`, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Counts up.
    pub account_id: i64,
    /// What its client tells the broker.
    pub username: String,
    /// The device it is tied to.
    pub device_id: Option<String>,
    /// Whether it may do anything; its device may still be revoked.
    pub is_enabled: bool,
    /// When it was made.
    pub created_at: Micros,
    /// The last one, its registration included.
    pub last_handshake_at: Option<Micros>,
}

/// What a broker's question is judged by.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Counts up.
    pub account_id: i64,
    /// What its client tells the broker.
    pub username: String,
    /// Argon2id, as a PHC string.
    pub password_hash: String,
    /// The device it is tied to.
    pub device_id: Option<String>,
    /// It is enabled, and so is its device.
    pub is_active: bool,
    /// What it may do.
    pub rules: Rules,
}

/// An account with all that is shown of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portrait {
    /// The row.
    pub account: Account,
    /// What it may do.
    pub rules: Rules,
    /// The latest handshakes, the last one first: when, and from where.
    pub handshakes: Vec<(Micros, Option<String>)>,
}

/// An account as plain mosquitto needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct Exported {
    /// Counts up.
    pub account_id: i64,
    /// What its client tells the broker.
    pub username: String,
    /// PBKDF2-SHA512, as mosquitto writes it.
    pub mosquitto_hash: String,
    /// The device it is tied to.
    pub device_id: Option<String>,
    /// What it may do.
    pub rules: Rules,
}

/// An account to make; its secrets are hashed.
#[derive(Clone)]
pub struct NewAccount {
    /// SHA-256, lower-case hex.
    pub identity_hash: String,
    /// What its client tells the broker.
    pub username: String,
    /// Argon2id, as a PHC string.
    pub password_hash: String,
    /// PBKDF2-SHA512, as mosquitto writes it.
    pub mosquitto_hash: String,
    /// What it may do, unless a token says.
    pub rules: Rules,
    /// From where it was asked for.
    pub peer: String,
}

/// By what right an account is asked for.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// None: good as long as no token was ever made.
    Open,
    /// The token of the configuration was shown.
    Configured,
    /// A token with this SHA-256 (lower-case hex) was shown.
    Token(String),
}

/// A row of `onboarding_token`, without the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What the operator calls it.
    pub name: String,
    /// Accounts it can still make; `None`: any number.
    pub uses_left: Option<i64>,
    /// Good until then.
    pub expires_at: Option<Micros>,
    /// What its accounts may do.
    pub rules: Rules,
    /// When it was made.
    pub created_at: Micros,
    /// When it was revoked.
    pub revoked_at: Option<Micros>,
}

/// A token to keep.
#[derive(Clone)]
pub struct NewToken {
    /// What the operator calls it.
    pub name: String,
    /// SHA-256, lower-case hex.
    pub token_hash: String,
    /// How many accounts it makes; `None`: any number.
    pub uses: Option<i64>,
    /// Good until then.
    pub expires_at: Option<Micros>,
    /// What its accounts may do.
    pub rules: Rules,
}

/// Why an account was not tied to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTied {
    /// No such account.
    UnknownAccount,
    /// No such device.
    UnknownDevice,
}

/// The part of a store that onboarding and brokers ask. `who` did it goes to `audit`, in the same
/// transaction.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Keeps a token. `false` if the name is in use, by a revoked one as well.
    async fn add_token(&self, token: &NewToken, who: &str) -> Result<bool, StoreError>;

    /// Tokens with a name after `after`, ascending, at most `limit`.
    async fn list_tokens(&self, after: &str, limit: i64) -> Result<Vec<Token>, StoreError>;

    /// Ends a token; the accounts it made stay. `false` if there is none of this name.
    async fn revoke_token(&self, name: &str, who: &str) -> Result<bool, StoreError>;

    /// Whether [`Accounts::register`] would say yes now.
    async fn admits(&self, entry: &Entry) -> Result<bool, StoreError>;

    /// Makes an account, uses up one use of the token, and notes the handshake: in one transaction,
    /// so that a token is used as often as it may be, whoever asks where. `false`: refused, and
    /// nothing has changed.
    async fn register(&self, account: &NewAccount, entry: &Entry) -> Result<bool, StoreError>;

    /// Notes a handshake of the account with this identity (SHA-256, lower-case hex), and gives it
    /// another identity if wanted. `false` if there is none, or it is disabled.
    async fn shake_hands(
        &self,
        identity_hash: &str,
        rotated: Option<&str>,
        peer: &str,
    ) -> Result<bool, StoreError>;

    /// What a broker's question about this name is judged by.
    async fn find_account(&self, username: &str) -> Result<Option<Credentials>, StoreError>;

    /// Whether a client id is the name or the device of an account other than `username`'s.
    async fn is_anothers(&self, client_id: &str, username: &str) -> Result<bool, StoreError>;

    /// Accounts with `account_id > after`, ascending, at most `limit`.
    async fn list_accounts(&self, after: i64, limit: i64) -> Result<Vec<Account>, StoreError>;

    /// All about one account.
    async fn show_account(&self, username: &str) -> Result<Option<Portrait>, StoreError>;

    /// Active accounts with `account_id > after`, ascending, at most `limit`.
    async fn export_accounts(&self, after: i64, limit: i64) -> Result<Vec<Exported>, StoreError>;

    /// Disables or enables an account. `false` if there is none.
    async fn set_enabled(&self, username: &str, is_enabled: bool, who: &str) -> Result<bool, StoreError>;

    /// Ties an account to a device, or to none.
    async fn tie(
        &self,
        username: &str,
        device_id: Option<&str>,
        who: &str,
    ) -> Result<Result<(), NotTied>, StoreError>;

    /// Allows an account something. `None` if there is no such account, `false` if it was allowed already.
    async fn allow(&self, username: &str, rule: &Rule, who: &str) -> Result<Option<bool>, StoreError>;

    /// Takes a rule away. `None` if there is no such account, `false` if it had no such rule.
    async fn deny(&self, username: &str, rule: &Rule, who: &str) -> Result<Option<bool>, StoreError>;
}

impl Rules {
    /// The list of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &[String] {
        match kind {
            Kind::Publish => &self.publish,
            Kind::Subscribe => &self.subscribe,
        }
    }

    /// Adds a rule, once, in its place.
    pub fn insert(&mut self, Rule { kind, pattern }: Rule) {
        let list = match kind {
            Kind::Publish => &mut self.publish,
            Kind::Subscribe => &mut self.subscribe,
        };
        if let Err(at) = list.binary_search(&pattern) {
            list.insert(at, pattern);
        }
    }
}

impl Entry {
    /// Who registers, for `audit`; a token's name is told by its row.
    pub(super) fn who(&self, token: Option<&str>) -> String {
        match (self, token) {
            (Self::Open, _) => "anybody".to_owned(),
            (Self::Configured, _) => "token of the configuration".to_owned(),
            (Self::Token(_), name) => format!("token {}", name.unwrap_or_default()),
        }
    }
}
