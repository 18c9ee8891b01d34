//! The order in which people number things: `2` before `10`.

use std::cmp::Ordering;

/// Compares runs of digits by value and everything else byte by byte; ties such as `01` and `1`
/// fall back to the plain order, so that the order is total.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(&x), Some(&y)) = (left.first(), right.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (digits(left), digits(right));
            let order = by_value(&left[..m], &right[..n]);
            (left, right) = (&left[m..], &right[n..]);
            order
        } else {
            (left, right) = (&left[1..], &right[1..]);
            x.cmp(&y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn by_value(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().take_while(|&&d| d == b'0').count();
    let (a, b) = (&a[significant(a)..], &b[significant(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_sort_by_value() {
        let mut names = ["frame10.jpg", "frame2.jpg", "a", "frame002.jpg", "10_2", "9_10", "frame"];
        names.sort_by(|a, b| natural_order(a, b));
        let expected = ["9_10", "10_2", "a", "frame", "frame002.jpg", "frame2.jpg", "frame10.jpg"];
        assert_eq!(names, expected);
    }

    #[test]
    fn numbers_beyond_any_integer_type_sort_too() {
        let (small, large) = ("9".repeat(40), "1".to_owned() + &"0".repeat(40));
        assert_eq!(natural_order(&small, &large), Ordering::Less);
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[a0-2_]{0,6}", b in "[a0-2_]{0,6}", c in "[a0-2_]{0,6}") {
            prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
            prop_assert_eq!(natural_order(&a, &b).is_eq(), a == b);
            if natural_order(&a, &b).is_le() && natural_order(&b, &c).is_le() {
                prop_assert!(natural_order(&a, &c).is_le());
            }
        }
    }
}
