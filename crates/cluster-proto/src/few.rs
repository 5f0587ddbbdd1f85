//! A list that is of one, most of the time, and then takes no memory of its own.

#[derive(Debug)]
pub(crate) enum Few<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Few<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Few::One(one) => std::slice::from_ref(one),
            Few::Many(many) => many,
        }
    }

    pub(crate) fn push(&mut self, more: T) {
        let mut all = match std::mem::replace(self, Few::Many(Vec::new())) {
            Few::One(one) => vec![one],
            Few::Many(many) => many,
        };
        all.push(more);
        *self = Few::Many(all);
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Few<T> {
        let mut items = items.into_iter();
        match (items.next(), items.next()) {
            (Some(one), None) => Few::One(one),
            (first, second) => Few::Many(first.into_iter().chain(second).chain(items).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_list_that_was_put_in() {
        for count in 0..5 {
            let few: Few<u32> = (0..count).collect();
            assert_eq!(few.as_slice(), (0..count).collect::<Vec<_>>());
            assert_eq!(matches!(few, Few::One(_)), count == 1);
        }
        let mut few = Few::One(0);
        (1..4).for_each(|more| few.push(more));
        assert_eq!(few.as_slice(), [0, 1, 2, 3]);
    }
}
