-- The authority's own certificates and those of services are few, among as many officers' as there are.
CREATE INDEX certificate_of_services ON certificate (profile, holder) WHERE profile <> 'officer';
