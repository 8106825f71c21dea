-- The order service's schema. Table layout as in DBPack's samples, so that they run on it unchanged.
CREATE DATABASE IF NOT EXISTS `order` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS `order`.so_master (
  sysno                  BIGINT NOT NULL PRIMARY KEY,
  so_id                  VARCHAR(20),
  buyer_user_sysno       BIGINT,
  seller_company_code    VARCHAR(20),
  receive_division_sysno BIGINT NOT NULL,
  receive_address        VARCHAR(200),
  receive_zip            VARCHAR(20),
  receive_contact        VARCHAR(20),
  receive_contact_phone  VARCHAR(100),
  stock_sysno            BIGINT,
  payment_type           TINYINT COMMENT '1 or 2: two ways to pay',
  so_amt                 DECIMAL(16, 6),
  status                 TINYINT COMMENT '10 to be paid, 30 paid, 50 sent, 70 received, 90 failed, 100 void',
  order_date             TIMESTAMP NULL,
  payment_date           TIMESTAMP NULL,
  delivery_date          TIMESTAMP NULL,
  receive_date           TIMESTAMP NULL,
  appid                  VARCHAR(64),
  memo                   VARCHAR(255),
  create_user            VARCHAR(255),
  gmt_create             TIMESTAMP NULL,
  modify_user            VARCHAR(255),
  gmt_modified           TIMESTAMP NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS `order`.so_item (
  sysno          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  so_sysno       BIGINT,
  product_sysno  BIGINT,
  product_name   VARCHAR(64),
  cost_price     DECIMAL(16, 6),
  original_price DECIMAL(16, 6),
  deal_price     DECIMAL(16, 6),
  quantity       INT
) ENGINE = InnoDB;
