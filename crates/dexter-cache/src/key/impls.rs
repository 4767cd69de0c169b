//! [`CacheKey`] for the types of the standard library.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{CacheKey, KeyWriter};

impl CacheKey for str {
    #[inline]
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.text(self);
    }
}

impl CacheKey for String {
    #[inline]
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.text(self);
    }
}

impl CacheKey for char {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.text(self.encode_utf8(&mut [0; 4]));
    }
}

impl CacheKey for bool {
    #[inline]
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.plain(if *self { b"true" } else { b"false" });
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl CacheKey for $integer {
            #[inline]
            fn write_key(&self, out: &mut KeyWriter<'_>) {
                out.plain(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )*};
}

integers!(u8, i8, u16, i16, u32, i32, u64, i64, usize, isize);

macro_rules! by_display {
    ($($type:ty),*) => {$(
        impl CacheKey for $type {
            fn write_key(&self, out: &mut KeyWriter<'_>) {
                out.display(self);
            }
        }
    )*};
}

by_display!(u128, i128, Ipv4Addr, Ipv6Addr, IpAddr, SocketAddrV4);

macro_rules! non_zero {
    ($($type:ty),*) => {$(
        impl CacheKey for NonZero<$type> {
            #[inline]
            fn write_key(&self, out: &mut KeyWriter<'_>) {
                self.get().write_key(out);
            }
        }
    )*};
}

non_zero!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize
);

macro_rules! floats {
    ($($type:ty),*) => {$(
        /// The shortest text that reads back as the same number. `-0.0` is written as `0.0`, every NaN as `NaN`.
        impl CacheKey for $type {
            fn write_key(&self, out: &mut KeyWriter<'_>) {
                // Adding zero turns the negative zero into the positive one and leaves all others.
                out.display(format_args!("{:?}", *self + 0.0));
            }
        }
    )*};
}

floats!(f32, f64);

/// The exact number of seconds: `1.5s`.
impl CacheKey for Duration {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        let (seconds, mut fraction, mut width) = (self.as_secs(), self.subsec_nanos(), 9);
        if fraction == 0 {
            return out.display(format_args!("{seconds}s"));
        }
        while fraction % 10 == 0 {
            fraction /= 10;
            width -= 1;
        }
        out.display(format_args!("{seconds}.{fraction:0width$}s"));
    }
}

impl CacheKey for SocketAddr {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        match self {
            Self::V4(address) => address.write_key(out),
            Self::V6(address) => address.write_key(out),
        }
    }
}

impl CacheKey for SocketAddrV6 {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        // `Display` leaves the flow out, though it tells two addresses apart.
        match self.flowinfo() {
            0 => out.display(self),
            flow => out.display(format_args!("{self}/{flow}")),
        }
    }
}

macro_rules! pointers {
    ($($type:ty),*) => {$(
        impl<T: CacheKey + ?Sized> CacheKey for $type {
            #[inline]
            fn write_key(&self, out: &mut KeyWriter<'_>) {
                T::write_key(self, out);
            }
        }
    )*};
}

pointers!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

impl<T: CacheKey + ToOwned + ?Sized> CacheKey for Cow<'_, T> {
    #[inline]
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        T::write_key(self, out);
    }
}

/// `None` leaves the part out.
impl<T: CacheKey> CacheKey for Option<T> {
    #[inline]
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        match self {
            None => out.none(),
            Some(value) => out.some(value),
        }
    }
}

macro_rules! sequences {
    ($($type:ty),*) => {$(
        impl<T: CacheKey> CacheKey for $type {
            fn write_key(&self, out: &mut KeyWriter<'_>) {
                out.seq(self);
            }
        }
    )*};
}

sequences!([T], Vec<T>, VecDeque<T>, BTreeSet<T>);

impl<T: CacheKey, const N: usize> CacheKey for [T; N] {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.seq(self);
    }
}

/// A sequence of `key=value`.
impl<K: CacheKey, V: CacheKey> CacheKey for BTreeMap<K, V> {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        struct Pair<'a, K, V>(&'a K, &'a V);

        impl<K: CacheKey, V: CacheKey> CacheKey for Pair<'_, K, V> {
            fn write_key(&self, out: &mut KeyWriter<'_>) {
                out.pair(self.0, self.1);
            }
        }

        out.seq(self.iter().map(|(key, value)| Pair(key, value)));
    }
}

macro_rules! tuples {
    ($($($name:ident)+;)*) => {$(
        /// A sequence.
        impl<$($name: CacheKey),+> CacheKey for ($($name,)+) {
            #[allow(non_snake_case, reason = "the values are called as their types")]
            fn write_key(&self, out: &mut KeyWriter<'_>) {
                let ($($name,)+) = self;
                out.list(|list| {
                    $(list.item($name);)+
                });
            }
        }
    )*};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

/// Writes nothing.
impl CacheKey for () {
    fn write_key(&self, _: &mut KeyWriter<'_>) {}
}

/// Writes nothing.
impl<T: ?Sized> CacheKey for PhantomData<T> {
    fn write_key(&self, _: &mut KeyWriter<'_>) {}
}
