//! Onboarding's calls, each on a connection of the pool and under its deadline. `tokens` and
//! `register` let somebody in, `rows` is what brokers and operators ask.

mod register;
mod rows;
mod tokens;

use super::{CALL_DEADLINE, Postgres};
use crate::store::{
    StoreError,
    accounts::{
        Account, Accounts, Credentials, Entry, Exported, NewAccount, NewToken, NotTied, Portrait, Rule, Token,
    },
};
use async_trait::async_trait;

/// One call: takes a connection, asks, gives it back.
macro_rules! call {
    ($this:ident, $ask:path $(, $argument:expr)*) => {
        $this
            .within(CALL_DEADLINE, async {
                let mut client = $this.client().await?;
                let answer = $ask(&mut client $(, $argument)*).await?;
                client.give_back();
                Ok(answer)
            })
            .await
    };
}

#[async_trait]
impl Accounts for Postgres {
    async fn add_token(&self, token: &NewToken, who: &str) -> Result<bool, StoreError> {
        call!(self, tokens::add, token, who)
    }

    async fn list_tokens(&self, after: &str, limit: i64) -> Result<Vec<Token>, StoreError> {
        call!(self, tokens::list, after, limit)
    }

    async fn revoke_token(&self, name: &str, who: &str) -> Result<bool, StoreError> {
        call!(self, tokens::revoke, name, who)
    }

    async fn admits(&self, entry: &Entry) -> Result<bool, StoreError> {
        call!(self, tokens::admits, entry)
    }

    async fn register(&self, account: &NewAccount, entry: &Entry) -> Result<bool, StoreError> {
        call!(self, register::register, account, entry)
    }

    async fn shake_hands(
        &self,
        identity_hash: &str,
        rotated: Option<&str>,
        peer: &str,
    ) -> Result<bool, StoreError> {
        call!(self, register::shake_hands, identity_hash, rotated, peer)
    }

    async fn find_account(&self, username: &str) -> Result<Option<Credentials>, StoreError> {
        call!(self, rows::find, username)
    }

    async fn is_anothers(&self, client_id: &str, username: &str) -> Result<bool, StoreError> {
        call!(self, rows::is_anothers, client_id, username)
    }

    async fn list_accounts(&self, after: i64, limit: i64) -> Result<Vec<Account>, StoreError> {
        call!(self, rows::list, after, limit)
    }

    async fn show_account(&self, username: &str) -> Result<Option<Portrait>, StoreError> {
        call!(self, rows::show, username)
    }

    async fn export_accounts(&self, after: i64, limit: i64) -> Result<Vec<Exported>, StoreError> {
        call!(self, rows::export, after, limit)
    }

    async fn set_enabled(&self, username: &str, is_enabled: bool, who: &str) -> Result<bool, StoreError> {
        call!(self, rows::set_enabled, username, is_enabled, who)
    }

    async fn tie(
        &self,
        username: &str,
        device_id: Option<&str>,
        who: &str,
    ) -> Result<Result<(), NotTied>, StoreError> {
        call!(self, rows::tie, username, device_id, who)
    }

    async fn allow(&self, username: &str, rule: &Rule, who: &str) -> Result<Option<bool>, StoreError> {
        call!(self, rows::allow, username, rule, who)
    }

    async fn deny(&self, username: &str, rule: &Rule, who: &str) -> Result<Option<bool>, StoreError> {
        call!(self, rows::deny, username, rule, who)
    }
}
