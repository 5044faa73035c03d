// Types by the names that Apps Script's own reference uses (SpreadsheetApp.Sheet); @types/google-apps-script keeps them
// under GoogleAppsScript.
declare namespace SpreadsheetApp {
  type ConditionalFormatRule = GoogleAppsScript.Spreadsheet.ConditionalFormatRule;
  type DataValidation = GoogleAppsScript.Spreadsheet.DataValidation;
  type DeveloperMetadata = GoogleAppsScript.Spreadsheet.DeveloperMetadata;
  type Filter = GoogleAppsScript.Spreadsheet.Filter;
  type NamedRange = GoogleAppsScript.Spreadsheet.NamedRange;
  type Protection = GoogleAppsScript.Spreadsheet.Protection;
  type Range = GoogleAppsScript.Spreadsheet.Range;
  type RangeList = GoogleAppsScript.Spreadsheet.RangeList;
  type Sheet = GoogleAppsScript.Spreadsheet.Sheet;
  type Spreadsheet = GoogleAppsScript.Spreadsheet.Spreadsheet;
  type Ui = GoogleAppsScript.Base.Ui;
}
declare namespace HtmlService {
  type HtmlOutput = GoogleAppsScript.HTML.HtmlOutput;
}
declare namespace LockService {
  type Lock = GoogleAppsScript.Lock.Lock;
}
declare namespace PropertiesService {
  type Properties = GoogleAppsScript.Properties.Properties;
}
declare namespace CacheService {
  type Cache = GoogleAppsScript.Cache.Cache;
}
declare namespace UrlFetchApp {
  type HTTPResponse = GoogleAppsScript.URL_Fetch.HTTPResponse;
}
