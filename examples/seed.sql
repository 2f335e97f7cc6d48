-- Example data for trying m0v out, the same SQL for both stores; m0v has made its tables before.
--
--   sqlite3 m0v-data/m0v.sqlite < examples/seed.sql
--   psql m0v -1 -f examples/seed.sql
--
-- Everybody who reads this knows these secrets: not for a server that others can reach.

INSERT INTO sub (sub_id, email, name) VALUES (1001, 'ann@example.org', 'Ann Example');
INSERT INTO pub (pub_id, hash, creator) VALUES (1001, 13580, 1001), (1002, NULL, NULL);
INSERT INTO device (device_id, model_number, pub_id) VALUES ('meter-1001', 'CC3220S', 1001);

-- Two accounts on a broker: admin with password 123 may do everything, user with 456 some things.
-- Their identities are id-of-the-example-admin and id-of-the-example-user.
INSERT INTO account (account_id, identity_hash, username, password_hash, mosquitto_hash, device_id) VALUES
    (1001, '0a4001a8654d7e9a671cf4e2379e7d621d84067e13a08ba6d3e0de93dd8df410', 'admin',
     '$argon2id$v=19$m=19456,t=2,p=1$RUJrjtZIM4eld4AvtSysuQ$tP6bcRJU+DkpDWo1l62fbNJ7peBG7mDyGSFfid7opZQ',
     '$7$101$o4iUa/EJP62RfcmC$sYYRb0rVZtzOYAnKe6FD2WSJLzkCkvE4DMoY/kUYDsdEhUNwq/FtqbAB1hYqi2Xlcnl/BiXlnzIAoDcgXt8ZFA==',
     NULL),
    (1002, 'e8272bf9d7fe710a2cff86a9f2ea5d2761056e3a7f26779aff7727b82f5cfb12', 'user',
     '$argon2id$v=19$m=19456,t=2,p=1$lKFbnpL/VpV0cSt1IsQRQg$H/1/rZ113GOcJ2IsjTwyd+P+Ge7dXg5jEd/oCoq1L78',
     '$7$101$EWw1jl330uLGc499$dbf71FU2TI6TVWgbhTHzB4pjsxJhau1F1VYCCokCWGbJdmSjIFtWhKO0V+drBZjCbJDHWEr3/M98tTImNEg7Gw==',
     'meter-1001');

INSERT INTO acl (account_id, kind, topic_pattern) VALUES
    (1001, 'pub', '#'),
    (1001, 'sub', '#'),
    (1002, 'pub', 'sensors/+/metrics/#'),
    (1002, 'pub', 'sensors/+/actions/restart'),
    (1002, 'pub', 'devices/{device}/up'),
    (1002, 'sub', 'sensors/1/metrics/#');

-- An onboarding token, example-onboarding-token, for ten accounts.
INSERT INTO onboarding_token (name, token_hash, uses_left, allow_publish, allow_subscribe) VALUES
    ('example', 'cf0daffcc1b8631203eb3cb62f73578dd042438487bf66b46c3cfa61c9ee78d8', 10,
     '["devices/{username}/#"]', '["devices/{username}/#"]');
