-- The banks of examples/02-tcc-transfer (bank_a, bank_b) and of examples/05-mixed (bank): a schema for each.
-- Neither what is reserved nor what is left is ever less than nothing, whatever a bank is asked for.
CREATE DATABASE IF NOT EXISTS bank_a CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS bank_a.account (
  id       VARCHAR(32) NOT NULL PRIMARY KEY,
  balance  BIGINT NOT NULL,
  outgoing BIGINT NOT NULL DEFAULT 0 COMMENT 'debits that are tried: out of the balance, not gone yet',
  incoming BIGINT NOT NULL DEFAULT 0 COMMENT 'credits that are tried: not in the balance yet',
  CHECK (balance >= 0 AND outgoing >= 0 AND incoming >= 0)
) ENGINE = InnoDB;

INSERT IGNORE INTO bank_a.account (id, balance) VALUES ('1', 1000), ('2', 1000);

CREATE DATABASE IF NOT EXISTS bank_b CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE TABLE IF NOT EXISTS bank_b.account LIKE bank_a.account;
INSERT IGNORE INTO bank_b.account (id, balance) VALUES ('1', 1000), ('2', 1000);

CREATE DATABASE IF NOT EXISTS bank CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE TABLE IF NOT EXISTS bank.account LIKE bank_a.account;
INSERT IGNORE INTO bank.account (id, balance) VALUES ('1', 1000), ('2', 1000);
