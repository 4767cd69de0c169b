//! Arguments that a load takes along: a borrowed one is cloned where its type can be.

use std::borrow::Borrow;
use std::marker::PhantomData;

/// A borrowed argument.
#[derive(Debug)]
pub struct Loan<'a, T: ?Sized>(&'a T);

/// The loan of `value`.
#[inline]
pub const fn loan<T: ?Sized>(value: &T) -> Loan<'_, T> {
    Loan(value)
}

/// An argument that may be absent, and is borrowed where it is there.
#[derive(Debug)]
pub struct LoanOption<'a, T: ?Sized>(Option<&'a T>);

/// The loan of `value`.
#[inline]
pub const fn loan_option<T: ?Sized>(value: Option<&T>) -> LoanOption<'_, T> {
    LoanOption(value)
}

/// The argument can be kept.
#[derive(Debug)]
pub struct CanKeep;

/// The argument can only be borrowed. Not `Send`: so a tuple that holds it tells that the load cannot be detached.
#[derive(Debug)]
pub struct CannotKeep(PhantomData<*const ()>);

/// A clone of a borrowed argument.
#[derive(Debug)]
pub struct Kept<T: ?Sized + ToOwned>(T::Owned);

impl<T: ?Sized + ToOwned> Kept<T> {
    #[inline]
    pub fn lend(&self) -> &T {
        self.0.borrow()
    }
}

/// A clone of a borrowed argument that may be absent.
#[derive(Debug)]
pub struct KeptOption<T: ?Sized + ToOwned>(Option<T::Owned>);

impl<T: ?Sized + ToOwned> KeptOption<T> {
    #[inline]
    pub fn lend(&self) -> Option<&T> {
        self.0.as_ref().map(Borrow::borrow)
    }
}

/// A borrowed argument that cannot be cloned.
#[derive(Debug)]
pub struct Lent<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> Lent<'a, T> {
    #[inline]
    pub const fn lend(&self) -> &'a T {
        self.0
    }
}

/// A borrowed argument that may be absent, and cannot be cloned.
#[derive(Debug)]
pub struct LentOption<'a, T: ?Sized>(Option<&'a T>);

impl<'a, T: ?Sized> LentOption<'a, T> {
    #[inline]
    pub const fn lend(&self) -> Option<&'a T> {
        self.0
    }
}

/// The traits of both levels, without their names.
pub mod levels {
    pub use super::{Own0 as _, Own1 as _};
}

/// What cannot be cloned stays borrowed.
pub trait Own0 {
    type Held;
    fn dexter_own(&self) -> Self::Held;
    fn dexter_can_keep(&self) -> CannotKeep;
}

impl<'a, T: ?Sized> Own0 for Loan<'a, T> {
    type Held = Lent<'a, T>;

    #[inline]
    fn dexter_own(&self) -> Lent<'a, T> {
        Lent(self.0)
    }

    fn dexter_can_keep(&self) -> CannotKeep {
        CannotKeep(PhantomData)
    }
}

impl<'a, T: ?Sized> Own0 for LoanOption<'a, T> {
    type Held = LentOption<'a, T>;

    #[inline]
    fn dexter_own(&self) -> LentOption<'a, T> {
        LentOption(self.0)
    }

    fn dexter_can_keep(&self) -> CannotKeep {
        CannotKeep(PhantomData)
    }
}

/// What can be cloned, and sent, is.
pub trait Own1 {
    type Held;
    fn dexter_own(&self) -> Self::Held;
    fn dexter_can_keep(&self) -> CanKeep;
}

impl<T: ?Sized + ToOwned<Owned: Send>> Own1 for &Loan<'_, T> {
    type Held = Kept<T>;

    #[inline]
    fn dexter_own(&self) -> Kept<T> {
        Kept(self.0.to_owned())
    }

    fn dexter_can_keep(&self) -> CanKeep {
        CanKeep
    }
}

impl<T: ?Sized + ToOwned<Owned: Send>> Own1 for &LoanOption<'_, T> {
    type Held = KeptOption<T>;

    #[inline]
    fn dexter_own(&self) -> KeptOption<T> {
        KeptOption(self.0.map(ToOwned::to_owned))
    }

    fn dexter_can_keep(&self) -> CanKeep {
        CanKeep
    }
}
