//! The name of a CA that is made here.

use super::name::is_invisible;
use rcgen::{DistinguishedName, DnType, DnValue};

/// What `POST /caRegister` calls `csrSubjects`; nothing of it need be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Two letters (ISO 3166).
    pub country: Option<String>,
    /// State or province.
    pub state: Option<String>,
    /// Town.
    pub locality: Option<String>,
    /// Company.
    pub organization: Option<String>,
    /// Department.
    pub unit: Option<String>,
    /// Name of the CA itself; without one it is `m0v CA` and eight random digits.
    pub common_name: Option<String>,
}

/// Why a CA cannot be called so. Names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSubject {
    /// Two letters are the whole of it.
    #[error("countryName must be two letters, such as DE")]
    Country,
    /// Longer than X.520 allows.
    #[error("{0} has more than {1} characters")]
    Long(&'static str, usize),
    /// It would break what it is shown in.
    #[error("{0} has a control or invisible character")]
    Invisible(&'static str),
}

impl Subject {
    /// Checks all parts; empty ones are taken for absent.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn checked(self) -> Result<Self, BadSubject> {
        let country = self.country.filter(|it| !it.is_empty());
        if country.as_ref().is_some_and(|it| it.len() != 2 || !it.bytes().all(|b| b.is_ascii_alphabetic())) {
            return Err(BadSubject::Country);
        }
        Ok(Self {
            country: country.map(|it| it.to_ascii_uppercase()),
            // The lengths are the upper bounds of X.520.
            state: part("stateName", self.state, 128)?,
            locality: part("localityName", self.locality, 128)?,
            organization: part("organizationName", self.organization, 64)?,
            unit: part("organizationUnitName", self.unit, 64)?,
            common_name: part("the name", self.common_name, 64)?,
        })
    }

    /// The name as a certificate has it; `label` makes it one of its own.
    pub(super) fn name(&self, label: &str) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        let country = self.country.as_ref().and_then(|it| it.as_str().try_into().ok());
        if let Some(country) = country {
            name.push(DnType::CountryName, DnValue::PrintableString(country));
        }
        for (kind, part) in [
            (DnType::StateOrProvinceName, &self.state),
            (DnType::LocalityName, &self.locality),
            (DnType::OrganizationName, &self.organization),
            (DnType::OrganizationalUnitName, &self.unit),
        ] {
            if let Some(part) = part {
                name.push(kind, part.as_str());
            }
        }
        let own = self.common_name.clone();
        name.push(DnType::CommonName, own.unwrap_or_else(|| format!("m0v CA {label}")));
        name
    }
}

fn part(field: &'static str, text: Option<String>, longest: usize) -> Result<Option<String>, BadSubject> {
    let Some(text) = text.filter(|it| !it.is_empty()) else { return Ok(None) };
    if text.chars().count() > longest {
        return Err(BadSubject::Long(field, longest));
    }
    if text.contains(is_invisible) {
        return Err(BadSubject::Invisible(field));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_rule() {
        let with = |edit: &dyn Fn(&mut Subject)| {
            let mut subject = Subject::default();
            edit(&mut subject);
            subject.checked().map(drop).map_err(|bad| bad.to_string())
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(with(&|_| {}), Ok(()));
        assert_eq!(with(&|it| it.country = text("de")), Ok(()));
        assert_eq!(with(&|it| it.country = text("")), Ok(()));
        assert_eq!(with(&|it| it.state = text(&"ü".repeat(128))), Ok(()));
        let country = Err("countryName must be two letters, such as DE".to_owned());
        for bad in ["D", "DEU", "Ü", "D1", "\0\0"] {
            assert_eq!(with(&|it| it.country = text(bad)), country);
        }
        let said = with(&|it| it.organization = text(&"x".repeat(65)));
        assert_eq!(said, Err("organizationName has more than 64 characters".into()));
        let said = with(&|it| it.unit = text("a\nb"));
        assert_eq!(said, Err("organizationUnitName has a control or invisible character".into()));
    }
}
