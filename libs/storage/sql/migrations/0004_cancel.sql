-- Cancels that came before their request, in the services that end requests.
CREATE TABLE cancel (
    request_id uuid NOT NULL,
    cancellation uuid NOT NULL,
    caller text NOT NULL,
    user_id text NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, cancellation)
);
