-- name: models
SELECT name, owner, task, target, target_type, version, algorithm, metrics, trained_at,
    (SELECT max(v.version) FROM ml.versions AS v WHERE v.model = m.name) AS newest
FROM ml.models AS m ORDER BY name

-- name: model
SELECT name, owner, task, target, target_type, version FROM ml.models WHERE name = %s

-- name: versions
SELECT version, deployed, artifact, signature, algorithm, parameters, metrics, parity, training, created_at, created_by,
    inline IS NOT NULL AS inline, unused
FROM ml.versions WHERE model = %s ORDER BY version DESC
