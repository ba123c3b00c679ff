-- name: resolved
SELECT signed, requested_at, credential_id, channels FROM manifest WHERE request_id = $1

-- name: unanswered
-- A resend is settled when its answer is here, and the challenge of the code that the answer names.
SELECT EXISTS (
    SELECT 1 FROM timeline AS asked
    WHERE asked.request_id = $1 AND asked.kind = 'resend-requested' AND NOT EXISTS (
        SELECT 1 FROM timeline AS answered
        WHERE answered.request_id = $1 AND answered.kind = 'resend-answered'
            AND answered.data::jsonb ->> 'resend' = asked.data::jsonb ->> 'resend'
            AND (
                answered.data::jsonb ->> 'number' IS NULL
                OR EXISTS (
                    SELECT 1 FROM challenge
                    WHERE challenge.request_id = $1 AND challenge.number = (answered.data::jsonb ->> 'number')::integer
                )
            )
    )
) AND NOT EXISTS (SELECT 1 FROM timeline AS ended WHERE ended.request_id = $1 AND ended.kind = 'completed')
