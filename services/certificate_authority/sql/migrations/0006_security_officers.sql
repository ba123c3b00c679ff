-- Who may order that a service's key is certified, two of them at a time.
ALTER TABLE certificate DROP CONSTRAINT certificate_profile_check;
ALTER TABLE certificate ADD CONSTRAINT certificate_profile_check CHECK (profile IN (
    'root', 'issuing', 'service-root', 'sealing-authority', 'security-officer', 'caller', 'registrar', 'producer',
    'officer'
));
