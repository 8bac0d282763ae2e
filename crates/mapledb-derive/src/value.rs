//! Values: how their parts are written and read, and how they are called.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Data, DeriveInput, Error, Fields, Result, parse_quote};

use crate::input::{Options, Shape, Variant, implementation};

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let options = Options::of(input)?;
    if options.is_in_place {
        return in_place(input, &options);
    }
    let shape = Shape::of(input)?;
    let (len, name) = (len(&shape), name(input, &shape, &options));
    let (append, take) = (append(&shape), take(&shape));
    let body = quote! {
        const LEN: ::core::option::Option<usize> = #len;

        fn part_name() -> ::std::string::String {
            #name
        }

        #[allow(unused_variables)]
        fn append(&self, bytes: &mut ::std::vec::Vec<u8>, place: ::mapledb::Place) {
            #append
        }

        #[allow(unused_variables)]
        fn take(bytes: &mut &[u8], place: ::mapledb::Place) -> ::core::option::Option<Self> {
            #take
        }
    };
    Ok(implementation(input, &parse_quote!(::mapledb::Part), body))
}

/// The sum of the fields' lengths; of an enum one, if it has no fields. It looks at every field's, so that a type that
/// holds itself does not compile.
fn len(shape: &Shape) -> TokenStream {
    let types = shape.types();
    match shape {
        Shape::Struct(_) => quote! {{
            let len = ::core::option::Option::Some(0);
            #(let len = ::mapledb::__private::len_of_both(len, <#types as ::mapledb::Part>::LEN);)*
            len
        }},
        Shape::Enum(_) if types.is_empty() => quote!(::core::option::Option::Some(1)),
        Shape::Enum(_) => quote! {{
            #(let _ = <#types as ::mapledb::Part>::LEN;)*
            ::core::option::Option::None
        }},
    }
}

fn name(input: &DeriveInput, shape: &Shape, options: &Options) -> TokenStream {
    if let Some(name) = &options.name {
        return quote!(::std::string::String::from(#name));
    }
    let types = shape.types();
    let structures: Vec<_> = shape.variants().iter().map(Variant::structure).collect();
    let structure = match shape {
        Shape::Struct(_) => structures.concat(),
        Shape::Enum(_) => format!("{}[{}]", input.ident, structures.join(",")),
    };
    quote!(::std::format!(#structure #(, <#types as ::mapledb::Part>::part_name())*))
}

fn append(shape: &Shape) -> TokenStream {
    let arms = shape.variants().iter().enumerate().map(|(at, variant)| {
        let (members, bindings) = (variant.members(), variant.bindings());
        let places = places(variant);
        let (pattern, mark) = match shape {
            Shape::Struct(_) => (quote!(Self), quote!()),
            Shape::Enum(_) => {
                let (ident, at) = (variant.ident, at as u8);
                (quote!(Self::#ident), quote!(bytes.push(#at);))
            }
        };
        quote! {
            #pattern { #(#members: #bindings),* } => {
                #mark
                #(::mapledb::Part::append(#bindings, bytes, #places);)*
            }
        }
    });
    quote!(match self { #(#arms)* })
}

fn take(shape: &Shape) -> TokenStream {
    let fields = |variant: &Variant| {
        let (members, places) = (variant.members(), places(variant));
        quote!({ #(#members: ::mapledb::Part::take(bytes, #places)?),* })
    };
    match shape {
        Shape::Struct(only) => {
            let fields = fields(only);
            quote!(::core::option::Option::Some(Self #fields))
        }
        Shape::Enum(variants) => {
            let arms = variants.iter().enumerate().map(|(at, variant)| {
                let (ident, at, fields) = (variant.ident, at as u8, fields(variant));
                quote!(#at => ::core::option::Option::Some(Self::#ident #fields),)
            });
            // Where every byte is a variant's, the last arm is not reached.
            quote! {
                #[allow(unreachable_patterns)]
                match <u8 as ::mapledb::Part>::take(bytes, ::mapledb::Place::Inner)? {
                    #(#arms)*
                    _ => ::core::option::Option::None,
                }
            }
        }
    }
}

/// Where each field stands: the last where the whole does.
fn places(variant: &Variant) -> Vec<TokenStream> {
    let fields = variant.fields();
    let count = fields.len();
    let place = |at| if at + 1 == count { quote!(place) } else { quote!(::mapledb::Place::Inner) };
    (0..count).map(place).collect()
}

/// A record that is handed out as a reference into the map.
fn in_place(input: &DeriveInput, options: &Options) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "only a struct can be read in place"));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a type that is read in place has no parameters"));
    }
    let name = match &options.name {
        Some(name) => quote!(::std::string::String::from(#name)),
        None => {
            let structure = format!("pod:{}{}", input.ident, fields_as_written(&data.fields));
            quote!(
                ::std::format!("{}/{}/{}", #structure, ::core::mem::size_of::<Self>(), ::core::mem::align_of::<Self>())
            )
        }
    };
    let body = quote! {
        type Item<'a> = &'a Self;

        fn type_name() -> ::std::string::String {
            #name
        }

        #[inline]
        fn with_bytes<R>(
            value: &Self,
            act: impl ::core::ops::FnOnce(&[u8]) -> ::mapledb::Result<R>,
        ) -> ::mapledb::Result<R> {
            act(::mapledb::__private::bytes_in_place(value))
        }

        #[inline]
        fn decode(bytes: &[u8]) -> ::mapledb::Result<&Self> {
            ::mapledb::__private::read_in_place(bytes)
        }
    };
    Ok(implementation(input, &parse_quote!(::mapledb::Codec), body))
}

/// The fields with their types as the source has them, but for the paths: these change when a type moves.
fn fields_as_written(fields: &Fields) -> String {
    let named = fields.iter().map(|field| {
        let text: String = field.ty.to_token_stream().to_string().split_whitespace().collect();
        let without_paths = without_paths(&text);
        field.ident.as_ref().map_or(without_paths.clone(), |name| format!("{name}:{without_paths}"))
    });
    let list = named.collect::<Vec<_>>().join(",");
    match fields {
        Fields::Named(_) => format!("{{{list}}}"),
        Fields::Unnamed(_) => format!("({list})"),
        Fields::Unit => String::new(),
    }
}

/// `[Point;2]` of `[crate::shapes::Point;2]`.
fn without_paths(text: &str) -> String {
    let mut kept = String::new();
    for (at, segment) in text.split("::").enumerate() {
        if at > 0 {
            let path = kept.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len();
            kept.truncate(path);
        }
        kept.push_str(segment);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(input: DeriveInput) -> String {
        derive(&input).unwrap_err().to_string()
    }

    #[test]
    fn what_has_no_bytes_is_refused_in_words_that_say_what_to_do() {
        assert!(refusal(parse_quote! { enum Never {} }).contains("no values"));
        assert!(refusal(parse_quote! { union Either { a: u32, b: f32 } }).contains("use an enum"));
        let many: Vec<_> = (0..257).map(|at| quote::format_ident!("V{at}")).collect();
        assert!(refusal(parse_quote! { enum Many { #(#many),* } }).contains("at most 256"));
        assert!(derive(&parse_quote! { enum Full { #(#many),* } }).is_err());
        let full = &many[..256];
        assert!(derive(&parse_quote! { enum Full { #(#full),* } }).is_ok());
    }

    #[test]
    fn options_that_are_none_are_refused() {
        assert!(refusal(parse_quote! { #[maple(nam = "a")] struct A; }).contains("no such option"));
        assert!(refusal(parse_quote! { #[maple(name = "")] struct A; }).contains("at least one"));
        assert!(refusal(parse_quote! { #[maple(name = "(u8,u8)")] struct A; }).contains("letters"));
        assert!(refusal(parse_quote! { struct A { #[maple(name = "b")] a: u8 } }).contains("at the type"));
        assert!(refusal(parse_quote! { enum A { #[maple(in_place)] B } }).contains("at the type"));
        assert!(refusal(parse_quote! { #[maple(in_place)] enum A { B } }).contains("only a struct"));
        assert!(refusal(parse_quote! { #[maple(in_place)] struct A<T>(T); }).contains("no parameters"));
    }

    #[test]
    fn types_are_written_without_their_paths() {
        for (text, short) in [
            ("f32", "f32"),
            ("[crate::shapes::Point;2]", "[Point;2]"),
            ("::std::num::Wrapping<a::B>", "Wrapping<B>"),
            ("(a::B,c::D)", "(B,D)"),
        ] {
            assert_eq!(without_paths(text), short);
        }
    }
}
