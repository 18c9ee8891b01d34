//! What one source file names of its own crate, tests left out.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// A path as it is written, such as `super`, `b`, `B`.
pub(crate) type Written = Vec<String>;

/// What a file declares and names. Its inline modules are told with their names before a path.
#[derive(Default)]
pub(crate) struct Source {
    /// Modules that lie in files of their own.
    pub children: Vec<String>,
    pub named: Vec<Named>,
    /// Names that this file passes on, each with where it has it from.
    pub passed_on: Vec<(String, Written)>,
    /// How deep in inline modules the visitor is.
    depth: usize,
}

/// A path and the number of inline modules around the place where it stands.
pub(crate) struct Named {
    pub path: Written,
    pub depth: usize,
}

impl Source {
    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> syn::Result<Self> {
        let mut source = Self::default();
        source.visit_file(&syn::parse_file(text)?);
        Ok(source)
    }

    fn name(&mut self, path: Written) {
        self.named.push(Named { path, depth: self.depth });
    }

    fn tree(&mut self, before: &Written, tree: &UseTree, is_passed_on: bool) {
        let with = |name: &dyn ToString| {
            let mut path = before.clone();
            path.push(name.to_string());
            path
        };
        match tree {
            UseTree::Path(it) => self.tree(&with(&it.ident), &it.tree, is_passed_on),
            UseTree::Name(it) if it.ident == "self" => self.name(before.clone()),
            UseTree::Name(it) => self.leaf(with(&it.ident), it.ident.to_string(), is_passed_on),
            UseTree::Rename(it) => self.leaf(with(&it.ident), it.rename.to_string(), is_passed_on),
            UseTree::Glob(_) => self.name(before.clone()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(before, tree, is_passed_on);
                }
            }
        }
    }

    fn leaf(&mut self, path: Written, name: String, is_passed_on: bool) {
        if is_passed_on && self.depth == 0 {
            self.passed_on.push((name, path.clone()));
        }
        self.name(path);
    }

    /// Paths in what a macro is given, which is not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Written::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 && !path.is_empty() => {
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && colons < 2 => colons += 1,
                other => {
                    self.name(std::mem::take(&mut path));
                    colons = 0;
                    match other {
                        TokenTree::Ident(ident) => path.push(ident.to_string()),
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.name(path);
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_none() {
            self.children.push(module.ident.to_string());
            return;
        }
        self.depth += 1;
        visit::visit_item_mod(self, module);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_passed_on = !matches!(item.vis, Visibility::Inherited);
        self.tree(&Written::new(), &item.tree, is_passed_on);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(path.segments.iter().map(|it| it.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast Macro) {
        visit::visit_macro(self, it);
        self.tokens(it.tokens.clone());
    }

    /// `pub(in crate::a)` uses nothing of `a`.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

/// Whether it is `#[cfg(test)]`.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|it| it == "test")
}
