// SPDX-License-Identifier: GPL-2.0

//! Folders of configfs that user space makes and fills in.
//!
//! The `kernel` crate's configfs has no folders that come with another one, and takes the data of
//! the uppermost folder from the wrong place.
//!
//! C header: [`include/linux/configfs.h`](srctree/include/linux/configfs.h)

use core::{
    fmt::Write,
    marker::PhantomData,
    pin::Pin, //
};
use kernel::{
    bindings,
    container_of,
    error::{
        from_result,
        to_result, //
    },
    page::PAGE_SIZE,
    prelude::*,
    static_lock_class,
    str::as_char_ptr_in_const_context,
    sync::{
        atomic::{
            Acquire,
            AtomicFlag,
            Release, //
        },
        Arc, //
    },
    types::Opaque, //
};

use super::module::THIS_MODULE;

/// What a folder is.
pub(crate) trait Directory: Send + Sync + Sized + 'static {
    /// The names of the files in it, at most [`ATTRIBUTES_MAX`].
    const ATTRIBUTES: &'static [&'static CStr];

    /// What `mkdir` in it makes.
    type Child: Directory;

    /// What folder comes with it.
    type Default: Directory;

    /// The folder that comes with it, and its name.
    fn default(_this: &Arc<Self>) -> Result<Option<Named<Self::Default>>> {
        Ok(None)
    }

    /// Writes what file `attribute` says, without the end of its line.
    fn show(&self, _attribute: usize, _to: &mut dyn Write) -> core::fmt::Result {
        Ok(())
    }

    /// Takes what was written to file `attribute`, without white space around it.
    fn store(&self, _attribute: usize, _text: &[u8]) -> Result {
        Err(EACCES)
    }

    /// Makes a folder.
    fn make(_this: &Arc<Self>, _name: &CStr) -> Result<Arc<Self::Child>> {
        Err(EPERM)
    }

    /// A folder that [`Self::make`] made is being removed.
    fn remove(&self, _child: &Arc<Self::Child>) {}
}

/// A folder's name, and what it is.
pub(crate) type Named<T> = (&'static CStr, Arc<T>);

/// Files that a folder can have.
const ATTRIBUTES_MAX: usize = 10;

/// No folder.
pub(crate) enum Nothing {}

impl Directory for Nothing {
    const ATTRIBUTES: &'static [&'static CStr] = &[];
    type Child = Nothing;
    type Default = Nothing;
}

/// A folder with the data that makes it a [`Directory`].
///
/// # Invariants
///
/// `subsystem.su_group` is an initialized group of the item type of `T`.
#[pin_data(PinnedDrop)]
struct Group<T: Directory> {
    /// All folders have a whole subsystem, of which only the uppermost uses more than the group:
    /// so that the data is at the same place in each.
    #[pin]
    subsystem: Opaque<bindings::configfs_subsystem>,
    /// Whether folders can be made in it.
    is_open: AtomicFlag,
    data: Arc<T>,
}

// SAFETY: A group belongs to no thread.
unsafe impl<T: Directory> Send for Group<T> {}

// SAFETY: A group is only used by configfs, which locks for itself, but for its data, which is
// `Sync`.
unsafe impl<T: Directory> Sync for Group<T> {}

impl<T: Directory> Group<T> {
    fn new(name: &CStr, data: Arc<T>, is_open: bool) -> Result<Pin<KBox<Self>>> {
        let default = T::default(&data)?;
        let this = KBox::pin_init(
            pin_init!(Self {
                subsystem <- Opaque::ffi_init(|subsystem: *mut bindings::configfs_subsystem| {
                    // SAFETY: There is room for a subsystem, which may be zeroed and is then
                    // initialized. The type lives for ever, and the name is copied.
                    unsafe {
                        subsystem.write(pin_init::zeroed());
                        bindings::config_group_init_type_name(
                            &raw mut (*subsystem).su_group,
                            name.as_char_ptr(),
                            &Type::<T>::ITEM_TYPE,
                        );
                        bindings::__mutex_init(
                            &raw mut (*subsystem).su_mutex,
                            c"configfs::Group".as_char_ptr(),
                            static_lock_class!().as_ptr(),
                        );
                    }
                }),
                is_open: AtomicFlag::new(is_open),
                data,
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        if let Some((name, data)) = default {
            let default = Group::new(name, data, true)?.into_raw();
            // SAFETY: Both groups are initialized, and `default` is in no list yet; `drop` takes it
            // out. This is `configfs_add_default_group()`, which is inline in C.
            unsafe {
                let head = &raw mut (*this.as_raw()).default_groups;
                let entry = &raw mut (*default).group_entry;
                let last = (*head).prev;
                (*entry).next = head;
                (*entry).prev = last;
                (*last).next = entry;
                (*head).prev = entry;
            }
        }
        Ok(this)
    }

    fn as_raw(&self) -> *mut bindings::config_group {
        // SAFETY: Only computes the address of a field.
        unsafe { &raw mut (*self.subsystem.get()).su_group }
    }

    /// Gives the folder away, to be freed by [`release`] when its last reference is put.
    fn into_raw(self: Pin<KBox<Self>>) -> *mut bindings::config_group {
        let raw = self.as_raw();
        // SAFETY: It stays where it is.
        let _ = KBox::into_raw(unsafe { Pin::into_inner_unchecked(self) });
        raw
    }

    /// The folder that a group is of.
    ///
    /// # Safety
    ///
    /// `group` must be of a `Group<T>`.
    unsafe fn from_raw(group: *mut bindings::config_group) -> *mut Self {
        // SAFETY: The caller promises it.
        let subsystem = unsafe { container_of!(group, bindings::configfs_subsystem, su_group) };
        // SAFETY: The subsystem is the field of a `Group<T>`, which the caller promises the group to be of.
        unsafe { container_of!(subsystem.cast::<Opaque<_>>(), Self, subsystem) }
    }

    /// The folder that an item is of.
    ///
    /// # Safety
    ///
    /// `item` must be of a `Group<T>`.
    unsafe fn from_item(item: *mut bindings::config_item) -> *mut Self {
        // SAFETY: The caller promises it.
        unsafe { Self::from_raw(container_of!(item, bindings::config_group, cg_item)) }
    }
}

#[pinned_drop]
impl<T: Directory> PinnedDrop for Group<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The group is initialized, and in use by nobody; the folder that comes with it
        // is in its list with the reference that it was made with. A name that is too long for its
        // place in the item was allocated for it; who puts an item's last reference frees it before.
        unsafe {
            let group = self.as_raw();
            bindings::configfs_remove_default_groups(group);
            let item = &raw mut (*group).cg_item;
            if (*item).ci_name != (&raw mut (*item).ci_namebuf).cast() {
                bindings::kfree((*item).ci_name.cast());
            }
        }
    }
}

/// An uppermost folder, `/sys/kernel/config/NAME`, until this is dropped.
///
/// Only [`Registered`](super::module::Registered) makes one, which drops it where there are no folders in it any
/// more: when the module goes, of which each folder holds a reference, or before [`Self::open`].
///
/// # Invariants
///
/// The group is registered as a subsystem.
pub(super) struct Subsystem<T: Directory>(Pin<KBox<Group<T>>>);

impl<T: Directory> Subsystem<T> {
    /// Makes the folder, in which nothing can be made yet: `EAGAIN`.
    pub(super) fn new(name: &'static CStr, data: Arc<T>) -> Result<Self> {
        let group = Group::new(name, data, false)?;
        // SAFETY: The subsystem is initialized, and stays where it is.
        to_result(unsafe { bindings::configfs_register_subsystem(group.subsystem.get()) })?;
        // INVARIANT: It was just registered.
        Ok(Self(group))
    }

    /// Lets folders be made in it.
    pub(super) fn open(&self) {
        self.0.is_open.store(true, Release);
    }
}

impl<T: Directory> Drop for Subsystem<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant. There are no folders in it: its only owner sees to that.
        unsafe { bindings::configfs_unregister_subsystem(self.0.subsystem.get()) };
    }
}

/// The tables that configfs calls a `T` through.
struct Type<T>(PhantomData<T>);

impl<T: Directory> Type<T> {
    const ITEM_TYPE: bindings::config_item_type = bindings::config_item_type {
        ct_owner: THIS_MODULE.as_ptr(),
        ct_item_ops: &Self::ITEM_OPERATIONS,
        ct_group_ops: &Self::GROUP_OPERATIONS,
        ct_attrs: core::ptr::from_ref(Self::ATTRIBUTES).cast_mut().cast(),
        ct_bin_attrs: core::ptr::null_mut(),
    };

    const ITEM_OPERATIONS: bindings::configfs_item_operations =
        bindings::configfs_item_operations {
            release: Some(release::<T>),
            ..pin_init::zeroed()
        };

    const GROUP_OPERATIONS: bindings::configfs_group_operations =
        bindings::configfs_group_operations {
            make_group: Some(make_group::<T>),
            drop_item: Some(drop_item::<T>),
            ..pin_init::zeroed()
        };

    /// The files, ended by null.
    const ATTRIBUTES: &'static [*const bindings::configfs_attribute; ATTRIBUTES_MAX + 1] = &[
        Self::attribute::<0>(),
        Self::attribute::<1>(),
        Self::attribute::<2>(),
        Self::attribute::<3>(),
        Self::attribute::<4>(),
        Self::attribute::<5>(),
        Self::attribute::<6>(),
        Self::attribute::<7>(),
        Self::attribute::<8>(),
        Self::attribute::<9>(),
        core::ptr::null(),
    ];

    /// File `INDEX`, or null if there are not so many.
    const fn attribute<const INDEX: usize>() -> *const bindings::configfs_attribute {
        if INDEX < T::ATTRIBUTES.len() {
            Attribute::<T, INDEX>::ATTRIBUTE
        } else {
            core::ptr::null()
        }
    }
}

/// One file of a `T`.
struct Attribute<T, const INDEX: usize>(PhantomData<T>);

impl<T: Directory, const INDEX: usize> Attribute<T, INDEX> {
    const ATTRIBUTE: &'static bindings::configfs_attribute = &bindings::configfs_attribute {
        ca_name: if INDEX < T::ATTRIBUTES.len() {
            as_char_ptr_in_const_context(T::ATTRIBUTES[INDEX])
        } else {
            core::ptr::null()
        },
        ca_owner: THIS_MODULE.as_ptr(),
        // Settings can be addresses, which are not for everybody.
        ca_mode: 0o600,
        show: Some(show::<T, INDEX>),
        store: Some(store::<T, INDEX>),
    };
}

/// A page that text is written to.
struct Text<'a> {
    page: &'a mut [u8],
    len: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            *self.page.get_mut(self.len).ok_or(core::fmt::Error)? = byte;
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}

/// # Safety
///
/// Called by configfs only, for an item of a `Group<T>` and a page to write to.
unsafe extern "C" fn show<T: Directory, const INDEX: usize>(
    item: *mut bindings::config_item,
    page: *mut c_char,
) -> isize {
    from_result(|| {
        // SAFETY: The item is of a `Group<T>`, which lives for the call.
        let this = unsafe { &*Group::<T>::from_item(item) };
        // SAFETY: configfs gives a page of its own.
        let page = unsafe { core::slice::from_raw_parts_mut(page.cast(), PAGE_SIZE) };
        let mut text = Text { page, len: 0 };
        this.data.show(INDEX, &mut text)?;
        text.write_str("\n")?;
        Ok(text.len as isize)
    })
}

/// # Safety
///
/// Called by configfs only, for an item of a `Group<T>` and `size` bytes at `text`.
unsafe extern "C" fn store<T: Directory, const INDEX: usize>(
    item: *mut bindings::config_item,
    text: *const c_char,
    size: usize,
) -> isize {
    from_result(|| {
        // SAFETY: The item is of a `Group<T>`, which lives for the call.
        let this = unsafe { &*Group::<T>::from_item(item) };
        // SAFETY: configfs gives a buffer of its own with so many bytes.
        let text = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), size) };
        this.data.store(INDEX, text.trim_ascii())?;
        Ok(size as isize)
    })
}

/// # Safety
///
/// Called by configfs only, for a group of a `Group<T>` and a C string.
unsafe extern "C" fn make_group<T: Directory>(
    group: *mut bindings::config_group,
    name: *const c_char,
) -> *mut bindings::config_group {
    // SAFETY: The group is of a `Group<T>`, which lives for the call, and so does the name.
    let (this, name) = unsafe {
        (
            &*Group::<T>::from_raw(group),
            CStr::from_char_ptr(name), //
        )
    };
    if !this.is_open.load(Acquire) {
        return EAGAIN.to_ptr();
    }
    let made = T::make(&this.data, name).and_then(|child| {
        Group::new(name, child.clone(), true).inspect_err(|_| this.data.remove(&child))
    });
    match made {
        Ok(child) => child.into_raw(),
        Err(error) => error.to_ptr(),
    }
}

/// # Safety
///
/// Called by configfs only, for a group of a `Group<T>` and an item that [`make_group`] made in it.
unsafe extern "C" fn drop_item<T: Directory>(
    group: *mut bindings::config_group,
    item: *mut bindings::config_item,
) {
    // SAFETY: Both live for the call: the item until its reference is put here.
    unsafe {
        let this = &*Group::<T>::from_raw(group);
        let child = &*Group::<T::Child>::from_item(item);
        this.data.remove(&child.data);
        bindings::config_item_put(item);
    }
}

/// # Safety
///
/// Called by configfs only, when nobody uses an item of a `Group<T>` any more.
unsafe extern "C" fn release<T: Directory>(item: *mut bindings::config_item) {
    // SAFETY: Only what `into_raw` gave away is ever released: an uppermost folder keeps the
    // reference that it was made with.
    drop(unsafe { KBox::from_raw(Group::<T>::from_item(item)) });
}
