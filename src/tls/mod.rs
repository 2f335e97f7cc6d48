//! The hello, the two stacks, keys and chains.
