//! Onboarding's calls, each a job for one of the two threads. `tokens` and `register` let
//! somebody in, `rows` is what brokers and operators ask.

mod register;
mod rows;
mod tokens;

use super::Embedded;
use crate::store::{
    StoreError,
    accounts::{
        Account, Accounts, Credentials, Entry, Exported, NewAccount, NewToken, NotTied, Portrait, Rule, Token,
    },
};
use async_trait::async_trait;

#[async_trait]
impl Accounts for Embedded {
    async fn add_token(&self, token: &NewToken, who: &str) -> Result<bool, StoreError> {
        let (token, who) = (token.clone(), who.to_owned());
        self.write(move |connection| tokens::add(connection, &token, &who)).await
    }

    async fn list_tokens(&self, after: &str, limit: i64) -> Result<Vec<Token>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| tokens::list(connection, &after, limit)).await
    }

    async fn revoke_token(&self, name: &str, who: &str) -> Result<bool, StoreError> {
        let (name, who) = (name.to_owned(), who.to_owned());
        self.write(move |connection| tokens::revoke(connection, &name, &who)).await
    }

    async fn admits(&self, entry: &Entry) -> Result<bool, StoreError> {
        let entry = entry.clone();
        self.read(move |connection| tokens::admits(connection, &entry)).await
    }

    async fn register(&self, account: &NewAccount, entry: &Entry) -> Result<bool, StoreError> {
        let (account, entry) = (account.clone(), entry.clone());
        self.write(move |connection| register::register(connection, &account, &entry)).await
    }

    async fn shake_hands(
        &self,
        identity_hash: &str,
        rotated: Option<&str>,
        peer: &str,
    ) -> Result<bool, StoreError> {
        let (identity_hash, rotated) = (identity_hash.to_owned(), rotated.map(str::to_owned));
        let peer = peer.to_owned();
        self.write(move |connection| {
            register::shake_hands(connection, &identity_hash, rotated.as_deref(), &peer)
        })
        .await
    }

    async fn find_account(&self, username: &str) -> Result<Option<Credentials>, StoreError> {
        let username = username.to_owned();
        self.read(move |connection| rows::find(connection, &username)).await
    }

    async fn is_anothers(&self, client_id: &str, username: &str) -> Result<bool, StoreError> {
        let (client_id, username) = (client_id.to_owned(), username.to_owned());
        self.read(move |connection| rows::is_anothers(connection, &client_id, &username)).await
    }

    async fn list_accounts(&self, after: i64, limit: i64) -> Result<Vec<Account>, StoreError> {
        self.read(move |connection| rows::list(connection, after, limit)).await
    }

    async fn show_account(&self, username: &str) -> Result<Option<Portrait>, StoreError> {
        let username = username.to_owned();
        self.read(move |connection| rows::show(connection, &username)).await
    }

    async fn export_accounts(&self, after: i64, limit: i64) -> Result<Vec<Exported>, StoreError> {
        self.read(move |connection| rows::export(connection, after, limit)).await
    }

    async fn set_enabled(&self, username: &str, is_enabled: bool, who: &str) -> Result<bool, StoreError> {
        let (username, who) = (username.to_owned(), who.to_owned());
        self.write(move |connection| rows::set_enabled(connection, &username, is_enabled, &who)).await
    }

    async fn tie(
        &self,
        username: &str,
        device_id: Option<&str>,
        who: &str,
    ) -> Result<Result<(), NotTied>, StoreError> {
        let (username, device_id, who) = (username.to_owned(), device_id.map(str::to_owned), who.to_owned());
        self.write(move |connection| rows::tie(connection, &username, device_id.as_deref(), &who)).await
    }

    async fn allow(&self, username: &str, rule: &Rule, who: &str) -> Result<Option<bool>, StoreError> {
        let (username, rule, who) = (username.to_owned(), rule.clone(), who.to_owned());
        self.write(move |connection| rows::allow(connection, &username, &rule, &who)).await
    }

    async fn deny(&self, username: &str, rule: &Rule, who: &str) -> Result<Option<bool>, StoreError> {
        let (username, rule, who) = (username.to_owned(), rule.clone(), who.to_owned());
        self.write(move |connection| rows::deny(connection, &username, &rule, &who)).await
    }
}
