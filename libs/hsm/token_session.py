"""A logged-in PKCS#11 session, and what python-pkcs11 0.10.1 lacks: sound templates and a cache of key handles."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pkcs11
from pkcs11 import Attribute, Mechanism, MechanismFlag, ObjectClass
from pkcs11.attributes import AttributeMapper
from pkcs11.exceptions import MultipleObjectsReturned, NoSuchKey

__all__ = ["TokenSession", "new_attribute_mapper"]


class _CkAttribute(ctypes.Structure):
    """CK_ATTRIBUTE (PKCS#11 2.40 section 3.4)."""

    _fields_ = (("type", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong))


class _Mapper(AttributeMapper):
    """Repairs: attributes that SoftHSM refuses when a private key is unwrapped, nested templates, mechanism lists."""

    def __init__(self) -> None:
        super().__init__()
        self._pinned: list[object] = []
        self.register_handler(Attribute.WRAP_TEMPLATE, self._pack_template, bytes)
        self.register_handler(Attribute.UNWRAP_TEMPLATE, self._pack_template, bytes)
        self.register_handler(Attribute.ALLOWED_MECHANISMS, _pack_mechanisms, bytes)

    def generic_key_template(  # hazard: python-pkcs11 sends ENCRYPT, VERIFY, WRAP too: AttributeTypeInvalid in SoftHSM
        self,
        base_template: dict[Attribute, Any],
        *,
        capabilities: MechanismFlag | int,
        id_: bytes | None,
        label: str | None,
        store: bool,
    ) -> dict[Attribute, Any]:
        make = super().generic_key_template
        if base_template.get(Attribute.CLASS) is not ObjectClass.PRIVATE_KEY:
            return make(base_template, capabilities=capabilities, id_=id_, label=label, store=store)
        template = self.private_key_template(capabilities=capabilities, id_=id_, label=label, store=store)
        return template | base_template

    def _pack_template(self, template: Mapping[Attribute, Any]) -> bytes:
        """CK_ATTRIBUTE array; its pointers must outlive the call that uses it, so the buffers live as long as we do."""
        array = (_CkAttribute * len(template))()
        for index, (attribute, value) in enumerate(template.items()):
            packed = self.pack_attribute(attribute, value)
            buffer = ctypes.create_string_buffer(packed, len(packed))
            self._pinned.append(buffer)
            array[index] = _CkAttribute(int(attribute), ctypes.cast(buffer, ctypes.c_void_p), len(packed))
        return bytes(array)


def _pack_mechanisms(mechanisms: Sequence[Mechanism]) -> bytes:
    """CK_MECHANISM_TYPE array."""
    return bytes((ctypes.c_ulong * len(mechanisms))(*mechanisms))


def new_attribute_mapper() -> AttributeMapper:
    """The mapper to open every session with."""
    return _Mapper()


class TokenSession:
    """One logged-in read-write session; only for the thread that opened it, and worthless after it was closed."""

    def __init__(self, raw: pkcs11.Session) -> None:
        self.raw = raw
        self._handles: dict[tuple[ObjectClass, str], Any] = {}

    def find(self, object_class: ObjectClass, label: str) -> Any:
        """The token key with this label; handles are kept, a search costs 0.26 ms on SoftHSM.

        Raises NoSuchKey: also what a logged-out session says, so it is a "no" only from a session just opened;
        MultipleObjectsReturned: never guess which of two keys is meant.
        """
        known = self._handles.get((object_class, label))
        if known is not None:
            return known
        # A dead session must fail here: a search that fails raises a second time from its destructor, unraisably.
        self.raw.generate_random(8)
        template = {Attribute.CLASS: object_class, Attribute.LABEL: label, Attribute.TOKEN: True}
        found = list(self.raw.get_objects(template))
        if not found:
            raise NoSuchKey(f"no {object_class.name} labelled {label!r}")
        if len(found) > 1:
            raise MultipleObjectsReturned(f"{len(found)} x {object_class.name} labelled {label!r}")
        self._handles[object_class, label] = found[0]
        return found[0]

    def destroy(self, object_class: ObjectClass, label: str) -> bool:
        """Destroy the token key with this label; False when this session, if it is logged in, sees none."""
        try:
            key = self.find(object_class, label)
        except NoSuchKey:
            return False
        self._handles.pop((object_class, label))
        key.destroy()
        return True

    def find_or_create(self, object_class: ObjectClass, label: str, create: Callable[[], object]) -> Any:
        """`find`, after `create()` when there is none.

        Creating is safe where a search lies: a logged-out session cannot create private objects (UserNotLoggedIn), and
        neither can a token whose storage is away (GeneralError; both checked on SoftHSM 2.6). Not safe between two
        processes: have one provisioner.
        """
        try:
            return self.find(object_class, label)
        except NoSuchKey:
            create()
            return self.find(object_class, label)
