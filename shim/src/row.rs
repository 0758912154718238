//! The numbers and names of the table's rows. Knows no function's signature.

use crate::table::with_rows;

/// Makes the numbers and names of a table's rows.
macro_rules! rows {
    ($( $name:ident $(( $($args:tt)* ) -> $ret:ty)? => $kind:ident $(($($how:tt)*))? $(, then $after:ident ( $($rest:tt)* ))? ; )*) => {
        /// The rows' numbers, as in the slot's hit counters.
        #[allow(non_camel_case_types, missing_docs, clippy::upper_case_acronyms)]
        #[derive(Clone, Copy)]
        #[repr(usize)]
        pub(crate) enum Row { $($name,)* }

        /// How many rows there are.
        pub(crate) const ROWS: usize = [$(Row::$name),*].len();
        const _: () = assert!(ROWS <= termite_abi::HITS_LEN);

        /// The hooks' names in order of their rows, each with a final NUL.
        pub(crate) const NAMES: &str = concat!($(stringify!($name), "\0"),*);
    };
}

with_rows!(rows);
