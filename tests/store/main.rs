//! What both engines of the store promise, and what each must survive.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod acme;
#[path = "../support/postgres.rs"]
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod people;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod proxy;
