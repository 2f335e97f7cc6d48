//! The allow-list as it was last heard, for a start without the database. Who may use it, and until when, is
//! decided in `device`.

use super::{super::error::Fault, SpoolFile};
use crate::store::{
    Micros, StoreError,
    devices::{Ca, Listed, Role, Status},
};
use rusqlite::{Connection, Row, params};

impl SpoolFile {
    /// When all of the allow-list was here; `None` if it never was.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn listed_at(&self) -> Result<Option<Micros>, StoreError> {
        let job = |connection: &mut Connection| {
            Ok(connection.query_row("SELECT listed_at FROM meta", [], |row| row.get(0))?)
        };
        self.worker.run(job).await
    }

    /// Entries with `certificate_id > after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn listed(&self, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let after = after.to_owned();
        self.worker.run(move |connection| page(connection, &after, limit)).await
    }

    /// The CAs, by age.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn cas(&self) -> Result<Vec<Ca>, StoreError> {
        self.worker.run(|connection| cas(connection)).await
    }

    /// Writes down what became of certificates, by id: `None` is one that is listed no more.
    ///
    /// # Errors
    /// Nothing of it is done.
    pub async fn keep_listed(&self, changes: Vec<(String, Option<Listed>)>) -> Result<(), StoreError> {
        self.worker.run(move |connection| keep(connection, &changes)).await
    }

    /// Writes down which CAs there are, and no others.
    ///
    /// # Errors
    /// Nothing of it is done.
    pub async fn keep_cas(&self, cas: Vec<Ca>) -> Result<(), StoreError> {
        self.worker.run(move |connection| keep_cas(connection, &cas)).await
    }

    /// Everything that was true at `at` is written down.
    ///
    /// # Errors
    /// It does not say so.
    pub async fn listed_whole(&self, at: Micros) -> Result<(), StoreError> {
        let job = move |connection: &mut Connection| {
            connection.execute("UPDATE meta SET listed_at = ?1", [at])?;
            Ok(())
        };
        self.worker.run(job).await
    }
}

fn page(connection: &Connection, after: &str, limit: usize) -> Result<Vec<Listed>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT certificate_id, device_id, pub_id, ca_id, role, status, not_after FROM listed
          WHERE certificate_id > ?1 ORDER BY certificate_id LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        page.push(listed_of_row(row)?);
    }
    Ok(page)
}

fn listed_of_row(row: &Row<'_>) -> Result<Listed, Fault> {
    let (role, status): (String, String) = (row.get(4)?, row.get(5)?);
    Ok(Listed {
        certificate_id: row.get(0)?,
        device_id: row.get(1)?,
        pub_id: row.get(2)?,
        ca_id: row.get(3)?,
        role: Role::of_word(&role)?,
        status: Status::of_word(&status)?,
        not_after: row.get(6)?,
    })
}

fn cas(connection: &Connection) -> Result<Vec<Ca>, Fault> {
    let mut statement = connection.prepare(
        "SELECT ca_id, subject, pem, status, auto_register, created_at FROM ca ORDER BY created_at, ca_id",
    )?;
    let mut rows = statement.query([])?;
    let mut cas = Vec::new();
    while let Some(row) = rows.next()? {
        let status: String = row.get(3)?;
        cas.push(Ca {
            ca_id: row.get(0)?,
            subject: row.get(1)?,
            pem: row.get(2)?,
            status: Status::of_word(&status)?,
            auto_register: row.get(4)?,
            created_at: row.get(5)?,
        });
    }
    Ok(cas)
}

fn keep(connection: &mut Connection, changes: &[(String, Option<Listed>)]) -> Result<(), Fault> {
    let transaction = connection.transaction()?;
    // Most are there already when a server starts: what is the same is not written again.
    let mut put = transaction.prepare_cached(
        "INSERT INTO listed (certificate_id, device_id, pub_id, ca_id, role, status, not_after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET device_id = excluded.device_id, pub_id = excluded.pub_id,
           ca_id = excluded.ca_id, role = excluded.role, status = excluded.status, not_after = excluded.not_after
         WHERE (device_id, pub_id, ca_id, role, status, not_after) IS NOT
           (excluded.device_id, excluded.pub_id, excluded.ca_id, excluded.role, excluded.status,
            excluded.not_after)",
    )?;
    let mut remove = transaction.prepare_cached("DELETE FROM listed WHERE certificate_id = ?1")?;
    for (certificate_id, listed) in changes {
        match listed {
            Some(Listed { device_id, pub_id, ca_id, role, status, not_after, .. }) => {
                put.execute(params![
                    certificate_id,
                    device_id,
                    pub_id,
                    ca_id,
                    role.word(),
                    status.word(),
                    not_after
                ])?
            }
            None => remove.execute([certificate_id])?,
        };
    }
    drop((put, remove));
    Ok(transaction.commit()?)
}

fn keep_cas(connection: &mut Connection, cas: &[Ca]) -> Result<(), Fault> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM ca", [])?;
    for Ca { ca_id, subject, pem, status, auto_register, created_at } in cas {
        transaction.execute(
            "INSERT INTO ca (ca_id, subject, pem, status, auto_register, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![ca_id, subject, pem, status.word(), auto_register, created_at],
        )?;
    }
    Ok(transaction.commit()?)
}
