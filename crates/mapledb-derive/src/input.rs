//! What is derived for: the type's options, its variants and their fields, and the bounds of its parameters.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, GenericParam, Generics, Ident, LitStr, Member, Path,
    Result, Type, parse_quote,
};

/// Variants that the one byte before their fields can tell apart.
const VARIANTS_MAX: usize = 256;

/// What `#[maple(…)]` asks for.
#[derive(Default)]
pub struct Options {
    /// The name that files record.
    pub name: Option<String>,
    /// Whether values are read in place.
    pub is_in_place: bool,
}

impl Options {
    pub fn of(input: &DeriveInput) -> Result<Options> {
        refuse_inside(input)?;
        let mut options = Options::default();
        for attribute in maple(&input.attrs) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    options.name = Some(checked_name(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("in_place") {
                    options.is_in_place = true;
                } else {
                    return Err(meta.error("there is no such option: it may be `name = \"…\"` or `in_place`"));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

/// A struct, or a variant of an enum.
pub struct Variant<'i> {
    pub ident: &'i Ident,
    fields: &'i Fields,
}

impl<'i> Variant<'i> {
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &'i Field> + use<'i> {
        self.fields.iter()
    }

    pub fn types(&self) -> impl Iterator<Item = &'i Type> + use<'i> {
        self.fields.iter().map(|field| &field.ty)
    }

    pub fn members(&self) -> Vec<Member> {
        self.fields.members().collect()
    }

    /// A variable for each field.
    pub fn bindings(&self) -> Vec<Ident> {
        (0..self.fields.len()).map(|at| format_ident!("field_{at}")).collect()
    }

    /// How its structure is written, with a hole for the name of each field's type, for `format!`.
    pub fn structure(&self) -> String {
        let holes: Vec<_> = self.fields.iter().map(|field| hole(field.ident.as_ref())).collect();
        match self.fields {
            Fields::Named(_) => format!("{}{{{{{}}}}}", self.ident, holes.join(",")),
            Fields::Unnamed(_) => format!("{}({})", self.ident, holes.join(",")),
            Fields::Unit => self.ident.to_string(),
        }
    }
}

fn hole(name: Option<&Ident>) -> String {
    name.map_or("{}".to_string(), |name| format!("{name}:{{}}"))
}

/// The type taken apart.
pub enum Shape<'i> {
    Struct(Variant<'i>),
    Enum(Vec<Variant<'i>>),
}

impl<'i> Shape<'i> {
    pub fn of(input: &'i DeriveInput) -> Result<Shape<'i>> {
        match &input.data {
            Data::Struct(data) => Ok(Shape::Struct(Variant { ident: &input.ident, fields: &data.fields })),
            Data::Enum(data) if data.variants.is_empty() => {
                Err(Error::new_spanned(input, "an enum without variants has no values to store"))
            }
            Data::Enum(data) if data.variants.len() > VARIANTS_MAX => Err(Error::new_spanned(
                input,
                format!("an enum can have at most {VARIANTS_MAX} variants here"),
            )),
            Data::Enum(data) => {
                let variant =
                    |variant: &'i syn::Variant| Variant { ident: &variant.ident, fields: &variant.fields };
                Ok(Shape::Enum(data.variants.iter().map(variant).collect()))
            }
            Data::Union(_) => {
                Err(Error::new_spanned(input, "a union does not say which field it holds: use an enum"))
            }
        }
    }

    pub fn variants(&self) -> &[Variant<'i>] {
        match self {
            Shape::Struct(only) => std::slice::from_ref(only),
            Shape::Enum(variants) => variants,
        }
    }

    /// The type of every field.
    pub fn types(&self) -> Vec<&'i Type> {
        self.variants().iter().flat_map(Variant::types).collect()
    }
}

/// The generics, each type parameter bound by `bound` too.
pub fn bounded(generics: &Generics, bound: &Path) -> Generics {
    let mut generics = generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(#bound));
        }
    }
    generics
}

/// `impl Trait for Type` with the parameters that it needs.
pub fn implementation(input: &DeriveInput, of: &Path, body: TokenStream) -> TokenStream {
    let generics = bounded(&input.generics, of);
    let (parameters, _, clause) = generics.split_for_impl();
    let (_, arguments, _) = input.generics.split_for_impl();
    let ident = &input.ident;
    quote! {
        #[automatically_derived]
        impl #parameters #of for #ident #arguments #clause {
            #body
        }
    }
}

fn maple(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("maple"))
}

/// Options stand at the type alone.
fn refuse_inside(input: &DeriveInput) -> Result<()> {
    let (variants, fields): (Vec<_>, Vec<&Fields>) = match &input.data {
        Data::Struct(data) => (Vec::new(), vec![&data.fields]),
        Data::Enum(data) => {
            (data.variants.iter().collect(), data.variants.iter().map(|variant| &variant.fields).collect())
        }
        _ => return Ok(()),
    };
    let of_variants = variants.into_iter().flat_map(|variant| &variant.attrs);
    let of_fields = fields.into_iter().flatten().flat_map(|field| &field.attrs);
    match of_variants.chain(of_fields).find(|attribute| attribute.path().is_ident("maple")) {
        Some(attribute) => Err(Error::new_spanned(
            attribute,
            "`maple` has no options for fields and variants: put it at the type",
        )),
        None => Ok(()),
    }
}

fn checked_name(name: &LitStr) -> Result<String> {
    let text = name.value();
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_-./:".contains(letter);
    if text.is_empty() || !text.chars().all(is_letter) {
        let why = "a name has ASCII letters, digits and `_-./:`, at least one of them";
        return Err(Error::new_spanned(name, why));
    }
    Ok(text)
}
