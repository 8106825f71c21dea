-- The product service's schema. Table layout as in DBPack's samples, but for the index on
-- product_sysno: without it the database locks every row of inventory for each order.
CREATE DATABASE IF NOT EXISTS product CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS product.product (
  sysno        BIGINT NOT NULL PRIMARY KEY,
  product_name VARCHAR(32) NOT NULL,
  price        DECIMAL(16, 6)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS product.inventory (
  sysno               BIGINT NOT NULL PRIMARY KEY,
  product_sysno       BIGINT NOT NULL,
  account_qty         INT COMMENT 'pieces in the books',
  available_qty       INT COMMENT 'pieces that can be ordered',
  allocated_qty       INT COMMENT 'pieces that are ordered',
  adjust_locked_qty   INT COMMENT 'pieces held back',
  KEY product_sysno (product_sysno)
) ENGINE = InnoDB;

INSERT IGNORE INTO product.product VALUES (1, 'phone', 6799);
INSERT IGNORE INTO product.inventory VALUES (1, 1, 1000000, 1000000, 0, 0);
