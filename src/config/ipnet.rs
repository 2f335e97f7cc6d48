//! A range of IP addresses, as `trusted_proxies` lists them.

use std::{fmt, net::IpAddr, str::FromStr};

/// `10.0.0.0/8`, `fd00::/8`, or one address. Bits below the prefix are zero. An IPv4 range also
/// holds the IPv4-mapped IPv6 form of its addresses, which is what a dual-stack socket reports, and a
/// range of that form (`::ffff:10.0.0.0/104`) is the IPv4 range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNet {
    address: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// Whether `address` lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => (u32::from(net) ^ u32::from(ip)) & mask_v4(self.prefix) == 0,
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (u128::from(net) ^ u128::from(ip)) & mask_v6(self.prefix) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether every address of a family lies in the range.
    #[must_use]
    pub const fn is_everybody(&self) -> bool {
        self.prefix == 0
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// Why a text is not an [`IpNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpNetError {
    /// Neither an address nor address/prefix.
    #[error("must be an IP address or a range such as \"10.0.0.0/8\"")]
    Form,
    /// The prefix is longer than the address.
    #[error("has a prefix longer than its address")]
    Prefix,
    /// Bits after the prefix are set: one of the two is a mistake, and guessing would trust too many.
    #[error("has address bits set after its prefix")]
    HostBits,
}

/// Bits before the IPv4 address in an IPv4-mapped one.
const MAPPED: u8 = 96;

impl FromStr for IpNet {
    type Err = IpNetError;

    fn from_str(text: &str) -> Result<Self, IpNetError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| IpNetError::Form)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| IpNetError::Form)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        if prefix > longest {
            return Err(IpNetError::Prefix);
        }
        let host_bits = match address {
            IpAddr::V4(ip) => u32::from(ip) & !mask_v4(prefix) != 0,
            IpAddr::V6(ip) => u128::from(ip) & !mask_v6(prefix) != 0,
        };
        if host_bits {
            return Err(IpNetError::HostBits);
        }
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if prefix >= MAPPED => {
                Ok(Self { address: mapped, prefix: prefix - MAPPED })
            }
            _ => Ok(Self { address, prefix }),
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::{IpNet, IpNetError};
    use proptest::prelude::*;
    use std::net::IpAddr;

    #[test]
    fn holds_what_it_should() {
        for (net, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "fd00::1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("::ffff:0:0/96", "203.0.113.9", true),
            ("::ffff:0:0/96", "2001:db8::1", false),
        ] {
            let range: IpNet = net.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), inside, "{net} {address}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for (text, error) in [
            ("", IpNetError::Form),
            ("10.0.0.0/", IpNetError::Form),
            ("10.0.0.0/x", IpNetError::Form),
            ("proxy.example/8", IpNetError::Form),
            ("10.0.0.0/33", IpNetError::Prefix),
            ("fd00::/129", IpNetError::Prefix),
            ("10.0.0.1/8", IpNetError::HostBits),
            ("fd00::1/8", IpNetError::HostBits),
            ("::ffff:10.0.0.1/104", IpNetError::HostBits),
        ] {
            assert_eq!(text.parse::<IpNet>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_address_holds_only_itself_and_prints_back(a: u32, b: u32) {
            let (a, b) = (IpAddr::V4(a.into()), IpAddr::V4(b.into()));
            let net: IpNet = a.to_string().parse().unwrap();
            prop_assert!(net.contains(a));
            prop_assert_eq!(net.contains(b), a == b);
            prop_assert_eq!(net.to_string().parse::<IpNet>(), Ok(net));
        }
    }
}
