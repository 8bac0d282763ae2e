//! Keys: that the parts of a value sort as the value does.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Path, Result, parse_quote};

use crate::input::{Options, Shape, bounded, implementation};

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    if Options::of(input)?.is_in_place {
        let why = "what is read in place does not sort as its values do: leave `in_place` out, or `MapleKey`";
        return Err(Error::new_spanned(&input.ident, why));
    }
    refuse_discriminants(input)?;
    let types = Shape::of(input)?.types();
    let key_part: Path = parse_quote!(::mapledb::KeyPart);
    let marker = implementation(input, &key_part, TokenStream::new());
    let generics = bounded(&input.generics, &key_part);
    let (parameters, _, clause) = generics.split_for_impl();
    Ok(quote! {
        #marker
        const _: () = {
            fn sorts<P: ::mapledb::KeyPart>() {}
            #[allow(dead_code)]
            fn every_field_sorts #parameters () #clause {
                #(sorts::<#types>();)*
            }
        };
    })
}

/// `Ord`, where it is derived, goes by discriminants; bytes go by the place of the declaration.
fn refuse_discriminants(input: &DeriveInput) -> Result<()> {
    let Data::Enum(data) = &input.data else { return Ok(()) };
    match data.variants.iter().find_map(|variant| variant.discriminant.as_ref()) {
        Some((_, discriminant)) => {
            let why = "keys sort by their variants as they are declared: leave the discriminants out";
            Err(Error::new_spanned(discriminant, why))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(input: DeriveInput) -> String {
        derive(&input).unwrap_err().to_string()
    }

    #[test]
    fn what_would_not_sort_is_refused() {
        let in_place: DeriveInput = parse_quote! { #[maple(in_place)] struct Point { x: f32 } };
        assert!(refusal(in_place).contains("does not sort"));
        let numbered: DeriveInput = parse_quote! { enum Level { High = 2, Low = 1 } };
        assert!(refusal(numbered).contains("leave the discriminants out"));
    }
}
