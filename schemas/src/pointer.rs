//! JSON pointers (RFC 6901), such as `/endpoints/2/url`; the empty pointer is the whole document.

pub fn to_member(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Unescaped names and indexes of a pointer, from the outermost to the innermost.
pub fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_escapes_what_would_divide_it_and_is_taken_apart_again() {
        assert_eq!(to_member("a/b~1"), "/a~1b~01");
        let pointer = ["endpoints", "2", "a/b~1", ""].map(to_member).concat();
        assert_eq!(pointer, "/endpoints/2/a~1b~01/");
        assert!(tokens(&pointer).eq(["endpoints", "2", "a/b~1", ""]));
        assert_eq!(tokens("").count(), 0);
    }
}
