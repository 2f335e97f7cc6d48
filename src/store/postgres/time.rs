//! Our microseconds and PostgreSQL's `timestamptz`, in its binary form: no text, so no
//! `DateStyle` and no time zone comes into it.

use super::super::Micros;
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, private::BytesMut, to_sql_checked};

/// 2000-01-01T00:00:00Z, where PostgreSQL counts from, in Unix microseconds.
const POSTGRES_EPOCH: Micros = 946_684_800_000_000;

/// A point in time as a parameter or a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamp(pub(super) Micros);

impl ToSql for Timestamp {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // i64::MIN would mean -infinity; one above is out of PostgreSQL's range, so refused.
        let since_2000 = self.0.saturating_sub(POSTGRES_EPOCH).max(i64::MIN + 1);
        since_2000.to_sql(ty, out)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_sql(ty, raw)?.saturating_add(POSTGRES_EPOCH)))
    }

    accepts!(TIMESTAMPTZ);
}
